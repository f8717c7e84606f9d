"""Ending notebook servers in which nothing is at work: JupyterHub's idle culler, with an arbiter that asks the server.

`policy.py` decides (pure), `arbiter.py` asks and tells, with a token of `tokens.py` that opens that server alone;
`__main__.py` is the managed service of JupyterHub. What counts as work is the notebook server's to say:
`modelyard.activity`.
"""
