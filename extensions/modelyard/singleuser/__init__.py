"""The notebook server that JupyterHub starts: JupyterHub's own `jupyterhub-singleuser`, begun so that it answers soon.

The same server with the same extensions and the same settings. What differs is when things happen: its port is open
before anything heavy is imported (`listening.py`), so that whoever asks early is answered in the first moment that
there is an answer, and where one machine runs many of them, they begin from a process that has imported all of it
already (`warm.py`). `python -m modelyard.singleuser` takes the arguments of `jupyterhub-singleuser`.

This is the only place of the library that imports JupyterHub.
"""
