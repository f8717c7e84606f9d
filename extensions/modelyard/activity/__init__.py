"""What is at work in a notebook server, for whoever decides whether it may be ended, and for its user.

An extension of Jupyter Server (`extension.py`) that looks every few seconds (`watch.py`): at kernels that compute,
terminals that run something (`busy.py`), processors, memory and GPUs (`processes.py`, `gpus.py`), and at what is sent
and changed (`traffic.py`). A page that is merely open is no work; somebody who moves the mouse in it is.
"""
