"""Through a process of its own a model answers bit for bit as in the notebook."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from harness.model_server import serving
from harness.packages import pipeline, table, write_skops

FRAME = table()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("agreement") / "package"
    write_skops(directory)
    return directory


def test_alone_and_in_a_batch(package: Path) -> None:
    rows = FRAME.replace({np.nan: None}).to_dict(orient="records")
    whole = pipeline().predict_proba(FRAME)
    alone = np.vstack([pipeline().predict_proba(FRAME.iloc[i : i + 1]) for i in range(len(FRAME))])
    with serving(package, open=True) as (client, _):
        assert proba(client, rows).tobytes() == whole.tobytes()
        got = np.vstack([proba(client, [row]) for row in rows])
        assert got.tobytes() == alone.tobytes()


def proba(client: httpx.Client, rows: list[dict[str, object]]) -> np.ndarray:
    """As the binary tensors that no decimal has rounded."""
    kinds = {"weight": "FP64", "age": "INT64", "island": "BYTES"}
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, kind in kinds.items()
    ]
    asked = {"inputs": inputs, "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    answer = client.post("/v2/models/penguins/infer", json=asked).raise_for_status()
    head = int(answer.headers["inference-header-content-length"])
    return np.frombuffer(answer.content[head:], "<f8").reshape(len(rows), -1)
