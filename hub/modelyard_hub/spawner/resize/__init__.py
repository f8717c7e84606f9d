"""Another size for a server that runs."""
