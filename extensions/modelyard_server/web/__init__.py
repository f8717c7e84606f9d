"""HTTP/1.1 on a socket: connections, their limits and their end. Knows nothing of models."""
