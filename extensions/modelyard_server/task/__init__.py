"""`python -m modelyard_server.task`: a command that runs to its end, and what it leaves brought to where it stays.

`run` runs it, and delivers by itself (on one machine) or leaves that to `deliver` beside it (in a pod, where only that
has the keys of the store). Belongs here: the command's folder, its limits, its end in words, the delivery. Does not
belong here: notebooks, parameters, the hub. Without an S3 output it needs the standard library alone.
"""
