"""A plain class with `load` and `predict`: published with its files, answered by a server as in the notebook."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.model_server import serving
from modelyard.packaging import build
from modelyard_api.errors import InvalidInput
from modelyard_api.models import Flavor
from modelyard_server.dataplane import load

FRAME = pd.DataFrame({"size": [1.5, 2.25, np.nan], "kind": ["a", "b", None]})


def classes() -> tuple[type, type]:
    """As a notebook defines them: in no module that a server could import."""
    place: dict[str, Any] = {"__name__": "__main__", "np": np}
    code = '''
class Priced:
    """Prices by kind, from a file."""

    def load(self, folder):
        self.prices = dict(line.split() for line in (folder / "prices.txt").read_text().splitlines())

    def predict(self, columns):
        prices = np.array([float(self.prices.get(kind, "nan")) for kind in columns["kind"]])
        return {"price": columns["size"] * prices, "known": ~np.isnan(prices)}


class Bare:
    def load(self, folder):
        self.there = folder.exists()

    def predict(self, columns):
        return columns["input"].sum(axis=1) + self.there
'''
    exec(code, place)  # noqa: S102
    return place["Priced"], place["Bare"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    folder.mkdir()
    (folder / "prices.txt").write_text("a 0.1\nb 0.7\n")
    return folder


def expected(files: Path) -> Mapping[str, np.ndarray]:
    model = classes()[0]()
    model.load(files)
    answer: Mapping[str, np.ndarray] = model.predict({"size": FRAME["size"].to_numpy(), "kind": FRAME["kind"].tolist()})
    return answer


def test_a_class_is_published_with_its_files_and_served_bit_for_bit(tmp_path: Path, files: Path) -> None:
    manifest = build(classes()[0], FRAME, directory=tmp_path / "p", files=files)
    assert manifest.flavor is Flavor.python
    assert [output.name for output in manifest.signature.outputs] == ["price", "known"]
    wanted = expected(files)
    rows = {"size": [1.5, 2.25, None], "kind": ["a", "b", None]}
    with serving(tmp_path / "p", open=True) as (client, _):
        for name in ("price", "known"):
            got = client.post("/invocations", json={"inputs": rows, "params": {"output": name}}).json()["predictions"]
            assert got == [None if v != v else v for v in wanted[name].tolist()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        again = mlflow.pyfunc.load_model(str(tmp_path / "p")).predict(FRAME)
    assert again["price"].tobytes() == wanted["price"].tobytes()


def test_a_class_without_files_gets_a_folder_that_is_not_there(tmp_path: Path) -> None:
    build(classes()[1], np.ones((2, 3)), directory=tmp_path / "p", trial=False)
    assert load(tmp_path / "p").predict({"input": np.ones((2, 3))})["output"].tolist() == [3.0, 3.0]


def test_what_is_wrong_is_said(tmp_path: Path, files: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Priced\.load failed: FileNotFoundError") as caught:
        build(classes()[0], FRAME, directory=tmp_path / "p")
    assert "files=" in caught.value.remedy
    with pytest.raises(InvalidInput, match="is no folder"):
        build(classes()[0], FRAME, directory=tmp_path / "p", files=tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="files= is for a class"):
        build(lambda rows: rows[:, 0], np.ones((2, 2)), directory=tmp_path / "p", files=files)
    assert not (tmp_path / "p").exists()
