"""The trainer of PyTorch modules, and what it makes of them.

`trainer.run` puts the parts together: `rows` (what is read, and in which order), `task` (what is predicted),
`recipe` (optimizer, scheduler, precision), `loop` (epochs), `checkpoint`, `ranks` (one process for each GPU), and
`predictor`, which is what a run gives back. Every module here imports PyTorch; nothing outside imports them before it
is needed.
"""
