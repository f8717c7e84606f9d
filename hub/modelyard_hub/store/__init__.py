"""The store: desired state, observed state, keys, audit, events. The only package that knows SQLAlchemy.

Belongs here: tables, migrations, transactions, and the pure rules that every write of a spec obeys.
Does not belong here: who may do what (api), and making the world match (reconcile).
"""
