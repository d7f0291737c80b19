"""An HTTP server over a backend, a program or a graph: OpenAI's protocol, the library's own events, and a page."""
