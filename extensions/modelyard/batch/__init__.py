"""What runs unattended. Belongs here: the entry of a run's process. Does not belong here: what submits runs."""
