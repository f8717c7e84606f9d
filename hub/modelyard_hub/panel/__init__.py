"""The hub service's own page: what endpoints there are and how they are. Read-only; changes go through the API.

Belongs here: HTML, its style, and signing in to it. Does not belong here: anything a client could not also do.
"""
