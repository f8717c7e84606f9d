"""The panels: what a data scientist sees and clicks in a notebook, over the public client and `TrainingRun`.

Belongs here: `base.py` (a panel's tie to the browser), one module per panel, and the pure functions that make their
state. A panel can do nothing that the library cannot. Their front ends are in `extensions/frontend/`; the package build
puts them into `static/`. Does not belong here: training, publishing, HTTP.
"""
