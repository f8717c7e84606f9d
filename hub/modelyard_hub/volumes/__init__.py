"""Volumes of notebook servers. A cluster's claims and snapshots, or folders, are all that there is to know: no table.

`base.py`: what both kinds promise. `claims.py`, `snapshots.py`, `copies.py` (pure): what the objects of a cluster mean.
`cluster.py` and `local.py` do it; `homes.py` (pure) chooses a server's among them. `shelf.py`: who may do what;
`keeper.py`: what is done by the clock, as `plans.py` (pure) says.
"""
