"""The hub side of Modelyard: the hub service, its reconcilers, and what the JupyterHub process imports.

Layers, enforced by import-linter: `app > api | panel > doctor | monitor > reconcile > runtimes | routing | store`.
Does not belong here: anything a data scientist imports (that is `modelyard`), sklearn, torch, ipywidgets, papermill.
"""
