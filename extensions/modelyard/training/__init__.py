"""Training in a process of its own, told by a run log.

Belongs here: the run log, the process that trains (`python -m modelyard.training`), and `TrainingRun`, which reads
the log. Does not belong here: publishing, panels. Nothing heavy is imported at module
level by what the notebook's process imports (`run`, `progress`, `spec`, `options`).
"""
