"""MLflow's own client of `/invocations`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from harness.model_server import serving
from harness.packages import pipeline, table, write_onnx, write_skops
from modelyard_api import __version__

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, of its own types
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def client(http: httpx.Client) -> ScoringServerClient:
    return ScoringServerClient(http.base_url.host, http.base_url.port)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringServerClient]:
    directory = tmp_path_factory.mktemp("package") / "skops"
    write_skops(directory)
    with serving(directory, open=True) as (http, _):
        yield client(http)


def test_it_finds_the_server_ready(mixed: ScoringServerClient) -> None:
    mixed.wait_server_ready(timeout=10)
    assert mixed.get_version() == __version__


def answered(found: Any) -> list[Any]:
    """Predictions as MLflow's own response has them: a frame of one column."""
    return found.get_predictions().iloc[:, 0].tolist()


def test_a_data_frame_with_a_missing_value(mixed: ScoringServerClient) -> None:
    """Which MLflow sends as NaN, though that is no JSON; a text that reads so stays one."""
    frame = table()
    frame.loc[1, "island"] = 'NaN "north'
    assert answered(mixed.invoke(frame)) == pipeline().predict(frame).tolist()


def test_params_choose_the_output(mixed: ScoringServerClient) -> None:
    found = mixed.invoke(table(), params={"output": "probabilities"}).get_predictions("ndarray")
    assert found == pytest.approx(pipeline().predict_proba(table()))


def test_an_array(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    with serving(directory, open=True) as (http, _):
        assert answered(client(http).invoke(np.array([[0.0, 1, 2], [21, 22, 23]]))) == ["no", "yes"]
        with pytest.raises(Exception, match="error code 422"):
            client(http).invoke(np.array([[0.0, 1, np.nan]]))


def test_a_refusal_says_what_is_wrong(mixed: ScoringServerClient) -> None:
    with pytest.raises(Exception, match=r"error code 422.*missing column: island"):
        mixed.invoke(table().drop(columns="island"))
