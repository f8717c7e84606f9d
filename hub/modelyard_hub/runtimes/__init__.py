"""What runs workloads. `base` is the contract; `local` runs child processes on this machine.

A runtime keeps what it was told to run and what runs, survives its own process's death, and knows nothing of endpoints,
traffic or the store.
"""
