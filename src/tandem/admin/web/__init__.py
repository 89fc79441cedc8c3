"""The web process: a page, an HTTP API and metrics, all by way of the server's control socket."""
