"""Where calls go: weights over revisions, and the one document that Traefik pulls.

Belongs here: the rule for effective weights, the document's shape, asking Traefik what it applied.
Does not belong here: what runs and why (reconcile), and starting Traefik.
"""
