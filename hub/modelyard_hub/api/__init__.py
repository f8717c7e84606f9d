"""The REST API: thin. Parse, authorize, write desired state, answer at once.

Belongs here: routes, conditional requests, problem documents, server-sent events.
Does not belong here: SQL (store), and anything that waits for a workload (reconcile).
"""
