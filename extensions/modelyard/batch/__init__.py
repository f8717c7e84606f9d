"""Unattended runs: what a run's own process does (`python -m modelyard.batch`), and what a notebook records in it.

Belongs here: papermill, and what is told of its progress. Does not belong here: when a run starts, and how often (the
hub service).
"""
