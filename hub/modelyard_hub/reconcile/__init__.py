"""Makes the world match the store: compare what is wanted with what is, act, write down what was seen, look again.

Belongs here: planning (pure), carrying out, the work queue. Does not belong here: how a workload runs (runtimes), what
the router is told (routing), what is wanted and by whom (store, api).
"""
