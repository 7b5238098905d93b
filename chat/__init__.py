"""chatcore's client for Python: the protocol without sockets, the connection under it, and a terminal."""
