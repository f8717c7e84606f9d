"""`modelyard up`: everything on one machine, side by side.

Belongs here: the state folder, free ports, secrets, the siblings' commands, and their supervisor.
Does not belong here: what the siblings do.
"""
