"""What is read off the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from modelyard.training import data


def test_the_example_shows_which_columns_may_have_gaps() -> None:
    X = pd.DataFrame({"a": [1.0] * 7 + [np.nan], "b": ["x"] * 6 + [None, "y"], "c": range(8)})
    found = data.example(X)
    assert found.index.tolist() == [0, 1, 2, 3, 4, 7, 6]
    assert found.isna().any().tolist() == [True, True, False]
    assert data.example(X.to_numpy()).shape == (5, 3)
    assert data.example(X["b"]).tolist() == ["x"] * 5
