"""What this library sends to others over HTTP: streams of events as responses of a web framework."""
