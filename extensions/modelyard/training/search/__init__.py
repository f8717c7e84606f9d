"""Searching an estimator's parameters with Optuna, as a training run.

Belongs here: what is tried (`space`, `inferred`: light, the notebook's process imports them), how a trial is fitted and
where (`trials`, `pool`), the search itself (`trainer`) and what is drawn of it (`reports`). Does not belong here: the
last fit and its metrics, which are a plain training (`modelyard.training.sklearn`).
"""
