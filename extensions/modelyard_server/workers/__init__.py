"""A model that is Python, in processes of its own: what it does there, a long call or a crash, the server outlives.

`pool.py` keeps the processes up, `worker.py` is one of them as the server has it, `child.py` is the process itself, and
`wire.py` what the two say to each other. The server's own process imports no library of a model's.
"""
