"""A start: what it waits for and why, how long its parts take, and going on with it after a restart."""
