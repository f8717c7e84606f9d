"""The models of `server_speed.py`, as packages and as pickles."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from modelyard.packaging import build


def write_models(folder: Path, names: tuple[str, ...] = ("lr", "hgb", "sk")) -> None:
    """`lr`, `hgb`, and `sk`, which ONNX has no operators for: a folder each with a package of thirty columns; a pickle
    without column names for the peers."""
    data = load_breast_cancer(as_frame=True)
    frame, target = data.data, data.target
    for name, model in (
        ("lr", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        ("hgb", HistGradientBoostingClassifier(random_state=0)),
        ("sk", make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(max_iter=1000))),
    ):
        if name not in names:
            continue
        _package(model.fit(frame, target), frame, folder / name)
        joblib.dump(model.fit(np.asarray(frame), target), folder / f"{name}.joblib")


def _package(model: object, frame: pd.DataFrame, folder: Path) -> None:
    built = build(model, frame.head(5), directory=folder)
    print(f"{folder.name}: {built.flavor}")
