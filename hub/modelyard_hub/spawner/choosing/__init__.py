"""Choosing a size: the spawn page, what it asks and what a server took before."""
