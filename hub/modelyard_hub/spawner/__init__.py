"""Notebook servers: what the JupyterHub process imports.

Belongs here: the spawner of each runtime, and the options that it is given.
Does not belong here: the store, and anything that the hub service decides.
"""
