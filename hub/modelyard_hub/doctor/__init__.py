"""Checks that name what is broken and why: one check, one file.

Belongs here: `base.py` (finding, check) and the checks. Does not belong here: repairs.
"""
