"""A real model server over loopback: protocols, bad input, access, drain, exit codes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.model_server import Ports, free_port, serving, spawn, with_grpc
from harness.packages import pipeline, table, write_onnx, write_skops
from harness.wait import eventually
from modelyard_api.access import Access, Claims, KeyHash

KEY = Ed25519PrivateKey.generate()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
INFER = "/v2/models/penguins/infer"


@pytest.fixture(scope="module")
def skops_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "skops"
    write_skops(directory)
    return directory


@pytest.fixture(scope="module")
def onnx_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    return directory


@pytest.fixture(scope="module")
def server(skops_package: Path) -> Iterator[httpx.Client]:
    with serving(skops_package, open=True, max_body=100_000) as (client, _):
        yield client


def tensors(**changes: Any) -> dict[str, Any]:
    columns = {
        "weight": ("FP64", [1.0, None]),
        "age": ("INT64", [3, 1]),
        "island": ("BYTES", ["north", "nowhere"]),
    } | changes
    return {
        "id": "7",
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(data)], "data": data}
            for name, (kind, data) in columns.items()
            if data is not None
        ],
    }


def test_answers_as_the_notebook(server: httpx.Client) -> None:
    frame = table().head(2).assign(weight=[1.0, float("nan")], island=["north", "nowhere"])
    answer = server.post(INFER, json=tensors()).raise_for_status().json()
    outputs = {o["name"]: o for o in answer["outputs"]}
    assert answer["id"] == "7"
    assert outputs["label"]["data"] == pipeline().predict(frame).tolist()
    assert outputs["probabilities"]["shape"] == [2, 2]
    assert outputs["probabilities"]["data"] == pytest.approx(pipeline().predict_proba(frame).reshape(-1).tolist())


def test_names_the_wanted_outputs(server: httpx.Client) -> None:
    body = tensors() | {"outputs": [{"name": "probabilities"}]}
    assert [o["name"] for o in server.post(INFER, json=body).json()["outputs"]] == ["probabilities"]
    refused = server.post(INFER, json=tensors() | {"outputs": [{"name": "odds"}]})
    assert refused.status_code == 422
    assert "odds" in refused.json()["detail"]


ROWS = [{"weight": 1.0, "age": 3, "island": "north"}, {"weight": None, "age": 9, "island": "east"}]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"dataframe_split": {"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}},
        {"inputs": {name: [row[name] for row in ROWS] for name in ROWS[0]}},
        {"inputs": [list(row.values()) for row in ROWS]},
    ],
)
def test_invocations(server: httpx.Client, body: dict[str, Any]) -> None:
    assert server.post("/invocations", json=body).raise_for_status().json() == {"predictions": ["no", "yes"]}


def test_invocations_with_csv_and_probabilities(server: httpx.Client) -> None:
    csv = "age,island,weight\n3,north,1.0\n9,east,\n"
    answer = server.post("/invocations", content=csv, headers={"content-type": "text/csv"})
    assert answer.json() == {"predictions": ["no", "yes"]}
    answer = server.post("/invocations", json={"instances": ROWS, "params": {"output": "probabilities"}})
    assert [len(row) for row in answer.json()["predictions"]] == [2, 2]


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (tensors(age=("INT64", None)), 422, "missing column: age"),
        (tensors(shoe=("FP64", [1.0, 2.0])), 422, "unknown column: shoe"),
        (tensors(age=("INT64", [None, 1])), 422, "'age' has a missing value in row 0"),
        (tensors(age=("FP64", [1.5, 2.0])), 422, "'age' holds 1.5"),
        (tensors(age=("BYTES", ["old", "new"])), 422, "'age' holds 'old'"),
        (tensors(age=("INT64", [True, False])), 422, "'age' holds True"),
        (tensors(island=("FP64", [1.0, 2.0])), 422, "'island' holds 1.0"),
        (tensors(age=("INT64", [1])), 422, "differ in length"),
        (tensors(age=("COMPLEX", [1, 2])), 422, "datatype 'COMPLEX'"),
        ({"inputs": [{"name": "age", "datatype": "INT64", "shape": [3], "data": [1]}]}, 422, "shape [3] holds 3"),
        ({"inputs": []}, 400, "no inputs"),
        ([], 400, "no inputs"),
    ],
)
def test_says_what_is_wrong(server: httpx.Client, body: Any, status: int, named: str) -> None:
    answer = server.post(INFER, json=body)
    problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in problem["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_refuses_what_is_no_number(server: httpx.Client, number: str) -> None:
    body = json.dumps(tensors()).replace("[1.0, null]", f"[{number}, 1.0]")
    answer = server.post(INFER, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


def test_limits_the_body(server: httpx.Client) -> None:
    big = b" " * 200_000
    assert server.post(INFER, content=big).status_code == 413
    assert server.post(INFER, content=iter([big])).status_code == 413
    zipped = server.post(INFER, content=gzip.compress(big), headers={"content-encoding": "gzip"})
    assert zipped.status_code == 413


def test_reads_gzip(server: httpx.Client) -> None:
    body = gzip.compress(json.dumps(tensors()).encode())
    assert server.post(INFER, content=body, headers={"content-encoding": "gzip"}).status_code == 200


def test_answers_gzip_to_those_who_take_it(server: httpx.Client) -> None:
    body = {"instances": ROWS * 400}
    for accepted, encoding in (("gzip", "gzip"), ("gzip;q=0, br", None), ("identity", None)):
        answer = server.post("/invocations", json=body, headers={"accept-encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert len(answer.json()["predictions"]) == 800
    cut_off = gzip.compress(json.dumps(tensors()).encode())[:-12]
    refused = server.post(INFER, content=cut_off, headers={"content-encoding": "gzip"})
    assert (refused.status_code, refused.json()["detail"]) == (400, "the body's gzip stream is cut off")


def test_metadata_and_metrics(server: httpx.Client) -> None:
    metadata = server.get("/v2/models/penguins").json()
    assert [(i["name"], i["datatype"]) for i in metadata["inputs"]] == [
        ("weight", "FP64"),
        ("age", "INT64"),
        ("island", "BYTES"),
    ]
    said = {"layout": "table", "task": "classification", "device": "cpu", "classes": ["no", "yes"]}
    assert metadata["parameters"] == said
    assert server.get("/v2").headers["x-modelyard-revision"] == "1"
    server.post(INFER, json=tensors())
    assert 'modelyard_requests_total{code="200"}' in server.get("/metrics").text
    assert server.get("/metrics", headers={"x-forwarded-for": "10.0.0.1"}).status_code == 404
    assert server.get("/v2/models/whales").status_code == 404


def test_onnx_is_small_and_answers_tensors(onnx_package: Path) -> None:
    with serving(onnx_package, open=True, memory=1 << 30) as (client, process):
        body = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [2, 3], "data": [0, 1, 2, 21, 22, 23]}]}
        outputs = client.post(INFER, json=body).raise_for_status().json()["outputs"]
        assert outputs[0]["data"] == ["no", "yes"]
        body["inputs"][0]["shape"] = [3, 2]
        assert "shape [3, 2]" in client.post(INFER, json=body).json()["detail"]
        assert psutil.Process(process.pid).memory_info().rss < 120 * 1000 * 1000


def test_importing_the_server_draws_in_nothing_heavy() -> None:
    code = "import modelyard_server.__main__, modelyard_server.trial, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"mlflow", "pandas", "sklearn", "torch", "onnxruntime", "skops"} & set(loaded)
    assert not {"jwt", "cryptography", "prometheus_client"} & set(loaded)  # they come once it is ready


def token(**changes: Any) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = Claims(sub="ada", owner="ada", iat=now, exp=now + 60).model_dump() | changes
    return jwt.encode(claims, KEY, algorithm="EdDSA")


def test_checks_callers_itself(onnx_package: Path, tmp_path: Path) -> None:
    file = tmp_path / "access.json"
    key = "my_1_secret"
    hashes = (KeyHash(id="1", sha256=hashlib.sha256(key.encode()).hexdigest()),)
    access = Access(owner="ada", groups=("team",), public_keys=(PEM,), keys=hashes)
    file.write_text(access.model_dump_json())
    other = jwt.encode({"sub": "ada"}, Ed25519PrivateKey.generate(), algorithm="EdDSA")
    past = int(datetime.now(UTC).timestamp()) - 10
    with serving(onnx_package, access=file) as (client, _):

        def status(bearer: str | None) -> int:
            headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
            return client.get("/v2/models/penguins", headers=headers).status_code

        assert status(None) == 401
        assert status("nonsense") == 401
        assert status(other) == 401
        assert status(token(aud="modelyard-mlflow")) == 401
        assert status(token(exp=past)) == 401
        assert status(token()) == 200
        assert status(token(sub="eve", owner="eve")) == 403
        assert status(token(sub="bob", owner="bob", groups=["team"])) == 200
        assert status(token(sub="root", owner="root", admin=True)) == 200
        assert status(key) == 200
        assert status("my_1_guess") == 401
        replaced = tmp_path / "new.json"
        replaced.write_text(access.model_copy(update={"keys": ()}).model_dump_json())
        replaced.replace(file)
        assert status(key) == 401
        expired = KeyHash(id="1", sha256=hashes[0].sha256, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        replaced.write_text(access.model_copy(update={"keys": (expired,)}).model_dump_json())
        replaced.replace(file)
        assert status(key) == 401
        assert client.get("/v2/health/ready").status_code == 200


def test_refuses_forged_tokens_and_forgets_revoked_signers(onnx_package: Path, tmp_path: Path) -> None:
    file = tmp_path / "access.json"
    access = Access(owner="ada", public_keys=(PEM,))
    file.write_text(access.model_dump_json())
    now = int(datetime.now(UTC).timestamp())
    claims = Claims(sub="ada", owner="ada", iat=now, exp=now + 60).model_dump()
    unsigned = jwt.encode(claims, None, algorithm="none")
    head, _, _ = jwt.encode(claims, "x" * 32, algorithm="HS256").rpartition(".")
    by_public_key = f"{head}.{_hmac(PEM, head)}"
    with serving(onnx_package, access=file) as (client, _):

        def ask(bearer: str | None, path: str = INFER) -> httpx.Response:
            headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
            return client.post(path, json={"instances": [[1, 2, 3]]}, headers=headers)

        for path in (INFER, "/invocations"):
            for forged in (None, unsigned, by_public_key, token(iss="somebody")):
                refused = ask(forged, path)
                assert (refused.status_code, refused.json()["code"]) == (401, "Unauthenticated")
                assert refused.headers["www-authenticate"].startswith("Bearer")
        assert ask(token(exp=now - 1), "/invocations").json()["code"] == "TokenExpired"
        good = token(iat=now + 5)
        assert ask(good, "/invocations").status_code == 200

        replaced = tmp_path / "new.json"
        replaced.write_text(access.model_copy(update={"public_keys": ()}).model_dump_json())
        replaced.replace(file)
        assert ask(good, "/invocations").status_code == 401
        file.unlink()
        closed = ask(good, "/invocations")
        assert (closed.status_code, closed.headers["retry-after"]) == (503, "1")


def _hmac(secret: str, text: str) -> str:
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_finishes_requests_after_sigterm(skops_package: Path) -> None:
    with serving(skops_package, open=True) as (client, process):
        sent, finish = threading.Event(), threading.Event()
        body = json.dumps(tensors()).encode()

        def slowly() -> Iterator[bytes]:
            yield body[:10]
            sent.set()
            assert finish.wait(10)
            yield body[10:]

        answers: list[httpx.Response] = []
        caller = threading.Thread(target=lambda: answers.append(client.post(INFER, content=slowly())))
        caller.start()
        assert sent.wait(10)
        eventually(
            lambda: "in_flight 1.0" in httpx.get(f"{client.base_url}/metrics").text, what="the request is under way"
        )
        process.terminate()
        eventually(lambda: not _accepts(client), what="the server no longer accepts")
        finish.set()
        caller.join(20)
        assert [a.status_code for a in answers] == [200]
        assert process.wait(20) == 0


def _accepts(client: httpx.Client) -> bool:
    try:
        return httpx.get(f"{client.base_url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_exit_codes_name_the_cause(onnx_package: Path, tmp_path: Path) -> None:
    with serving(onnx_package, open=True) as (client, _):
        assert client.base_url.port is not None
        taken = spawn(onnx_package, client.base_url.port, open=True)
        assert b"cannot listen" in taken.communicate(timeout=30)[1]
        assert taken.returncode == 4
    broken = spawn(tmp_path, free_port(), open=True)
    assert b"no modelyard/package.json" in broken.communicate(timeout=30)[1]
    assert broken.returncode == 3
    unguarded = spawn(onnx_package, free_port())
    assert b"access is not set" in unguarded.communicate(timeout=30)[1]
    assert unguarded.returncode == 2


@pytest.mark.parametrize("which", ["http", "grpc"])
def test_another_server_at_a_tests_port_is_not_taken_for_its_own(onnx_package: Path, which: str) -> None:
    """As where two runs of the tests choose the same port: its answers would be those of another model."""
    with serving(onnx_package, open=True, version="other") as (_, other):
        first: list[Ports] = [(other.port, None) if which == "http" else (free_port(), other.port)]

        def choose() -> Ports:
            return first.pop() if first else with_grpc()

        with serving(onnx_package, choose, open=True, version="own") as (client, _):
            assert client.get("/v2/models/penguins").json()["versions"] == ["own"]
