"""A real one-node Kubernetes for the tests, out of Kubernetes' own components, on this machine.

`harness.cluster` is what tests use of it; `python -m harness.cluster up` starts one and keeps it.
Belongs here: what builds, starts, breaks and stops the cluster. Does not belong here: anything of Modelyard's.
"""
