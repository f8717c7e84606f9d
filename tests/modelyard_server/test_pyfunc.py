"""A model that is the owner's own code: what it raises, what it answers, and a call that never returns."""

from __future__ import annotations

import contextlib
import platform
import threading
from pathlib import Path

import httpx
import pytest

from harness.model_server import serving
from harness.wait import eventually
from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest, Signature, TensorSpec

CODE = """
import threading

class Moody:
    def predict(self, frame):
        value = frame["a"].iloc[0]
        if value < 0:
            threading.Event().wait()
        if value == 0:
            raise OSError(f"cannot read {__file__}, see https://example.org/a/b")
        return 1 / (frame["a"] - 1)

def _load_pyfunc(path):
    return Moody()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pyfunc")
    (directory / "code").mkdir()
    (directory / "code" / "moody.py").write_text(CODE)
    loader = f"loader_module: moody\n    code: code\n    python_version: {platform.python_version()}"
    (directory / "MLmodel").write_text(f"flavors:\n  python_function:\n    {loader}\n")
    signature = Signature(
        layout="table",
        inputs=(TensorSpec(name="a", dtype="float64"),),
        outputs=(TensorSpec(name="prediction", dtype="float64", shape=(-1,)),),
    )
    manifest = PackageManifest(
        flavor=Flavor.pyfunc, path=".", task="other", signature=signature, example=[{"a": 2.0}, {"a": 3.0}]
    )
    (directory / "modelyard").mkdir()
    (directory / MANIFEST_PATH).write_text(manifest.model_dump_json())
    return directory


def test_answers_fails_and_still_ends_when_a_call_hangs(package: Path) -> None:
    with serving(package, open=True, drain_timeout=1) as (client, process):

        def ask(*values: float) -> httpx.Response:
            return client.post("/invocations", json={"inputs": {"a": list(values)}})

        for values, predictions in (((2, 3), [1.0, 0.5]), ((1, 2), [None, 1.0])):
            answer = ask(*values)
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"predictions": predictions}

        problem = ask(0)
        assert problem.status_code == 500
        assert problem.json()["code"] == "ModelFailed"
        assert problem.json()["detail"].startswith("the model raised OSError: cannot read …/moody.py, see https://exa")
        assert str(package) not in problem.text

        caller = threading.Thread(target=_ignore_the_break, args=(client,))
        caller.start()
        eventually(lambda: "in_flight 1.0" in client.get("/metrics").text, what="the call hangs")
        assert client.get("/v2/health/ready").status_code == 200, "the loop is free while the model works"
        process.terminate()
        assert process.wait(15) == 0
        caller.join(5)


def _ignore_the_break(client: httpx.Client) -> None:
    with contextlib.suppress(httpx.TransportError):
        httpx.post(f"{client.base_url}/invocations", json={"inputs": {"a": [-1]}}, timeout=20)
