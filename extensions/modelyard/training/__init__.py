"""Training in a child process that writes a run log; the notebook's cell returns at once and only reads the log.

Belongs here: the run's folder and log, the child process, what it fits and measures, the run as the notebook sees it.
Does not belong here: publishing, and anything that fits a model in the notebook's own process.
"""
