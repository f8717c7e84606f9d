"""How a package's model is loaded and called. One module a flavor; each is imported only when its package is loaded."""
