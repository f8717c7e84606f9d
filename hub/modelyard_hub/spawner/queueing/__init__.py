"""The queue of starts that wait for room, and whose turn it is."""
