"""What goes over the wire, against a server of the project's own that misbehaves on purpose."""
