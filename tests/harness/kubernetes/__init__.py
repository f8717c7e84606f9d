"""A real one-node Kubernetes for the tests, out of Kubernetes' own components, on this machine.

`cluster.Cluster` is what tests use; `python -m harness.kubernetes` starts one and keeps it, or runs a command with it.
Belongs here: what builds, starts, breaks and stops the cluster. Does not belong here: anything of Modelyard's.
"""
