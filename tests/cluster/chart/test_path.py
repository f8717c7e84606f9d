"""The whole path on the installed chart: the first notebook trains and publishes; call, canary, promote, delete."""

from __future__ import annotations

import itertools
import json
import shlex
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from harness.release import Release
from harness.wait import eventually

pytestmark = pytest.mark.timeout(1200)
USER, NAME = "grace", "churn"
FIRST = ("notebooks/01-train-and-publish.ipynb", "/tmp/out.ipynb")
PRINTED = """
import json
cells = json.load(open("/tmp/out.ipynb"))["cells"]
print("".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", []) if "text" in o))
"""


@pytest.fixture(scope="module")
def pod(installed: Release) -> None:
    """The user's notebook pod."""
    with installed.browser(USER) as browser:
        installed.spawn(browser, USER)


@pytest.fixture(scope="module")
def printed(installed: Release, pod: None) -> Iterator[str]:
    """What the first notebook prints, run in a user's pod."""
    installed.in_notebook(USER, "papermill", *FIRST, "-p", "name", NAME, "--progress-bar", "--log-level", "WARNING")
    return installed.in_notebook(USER, "python", "-c", PRINTED)


def yard(installed: Release, code: str) -> str:
    """Run some lines of the library in the user's pod; what they print."""
    begin = f"import modelyard as yard; endpoint = yard.endpoint({NAME!r}); "
    return installed.in_notebook(USER, "python", "-c", begin + code)


def curl(printed: str) -> tuple[str, dict[str, str], str]:
    """URL, headers and body of the curl line that the notebook prints."""
    line = next(line for line in printed.splitlines() if line.startswith("curl "))
    parts = shlex.split(line)
    headers = dict(h.split(": ", 1) for flag, h in itertools.pairwise(parts) if flag == "-H")
    body = next(b for flag, b in itertools.pairwise(parts) if flag in ("-d", "--data"))
    return next(p for p in parts if p.startswith("http")), headers, body


def test_the_first_notebook_trains_publishes_and_prints_a_line_that_answers(installed: Release, printed: str) -> None:
    assert "accuracy" in printed
    url, headers, body = curl(printed)
    assert url.startswith(f"{installed.url}/serve/{USER}/{NAME}/")
    answer = httpx.post(url, headers=headers, content=body, timeout=30, trust_env=False)
    assert "outputs" in answer.raise_for_status().json()


def test_the_endpoint_is_plain_objects_that_kubectl_shows(installed: Release, printed: str) -> None:
    chosen = f"modelyard.dev/owner={USER},modelyard.dev/endpoint={NAME}"
    listed = json.loads(
        installed.kubectl("get", "deployments,services,poddisruptionbudgets", "--selector", chosen, "--output=json")
    )
    kinds = Counter(item["kind"] for item in listed["items"])
    assert kinds == {"Deployment": 2, "Service": 2, "PodDisruptionBudget": 2}
    pods = [item["spec"]["template"]["spec"] for item in listed["items"] if item["kind"] == "Deployment"]
    used = {container["image"] for pod in pods for container in pod["containers"]}
    assert used == {installed.values()["images"]["serverOnnx"]}, "an ONNX graph needs no more"


def test_canary_promote_and_rollback_move_calls(installed: Release, printed: str) -> None:
    url, headers, body = curl(printed)

    def answered() -> Counter[str]:
        with httpx.Client(timeout=30, trust_env=False, headers=headers) as client:
            answers = [client.post(url, content=body).raise_for_status() for _ in range(100)]
        return Counter(answer.headers["x-modelyard-revision"] for answer in answers)

    assert set(answered()) == {"1"}
    yard(installed, "endpoint.canary(2, percent=20)")
    shares = answered()
    assert 10 <= shares["2"] <= 30
    yard(installed, "endpoint.promote()")
    assert set(answered()) == {"2"}
    yard(installed, "endpoint.rollback()")
    assert set(answered()) == {"1"}


SUBMITTED = """
import json, pathlib, modelyard as yard
cell = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
cells = [
    {**cell, "id": "a", "metadata": {"tags": ["parameters"]}, "source": "a = 1"},
    {**cell, "id": "b", "source": "import modelyard as yard; yard.record('sum', a + 2); print(type(yard.endpoints()))"},
    {**cell, "id": "c", "source": "1 / (a - 40)"},
]
kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
pathlib.Path("/tmp/sum.ipynb").write_text(
    json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": cells})
)
good, bad = (yard.submit("/tmp/sum.ipynb", {"a": a}, cpu=0.5, memory="512Mi") for a in (4, 40))
good.wait(300, quiet=True)
try:
    bad.wait(300, quiet=True)
except yard.ModelyardError:
    pass
told = {"results": good.results, "tracked": good.status.mlflow_run_id, "log": good.logs(), "ids": [good.id, bad.id]}
told |= {"reason": bad.status.reason, "error": bad.status.failure.error, "page": good.notebook(html=True)}
print(json.dumps(told))
"""


def test_runs_are_jobs_and_leave_results_and_nothing_else(installed: Release, pod: None) -> None:
    told = json.loads(installed.in_notebook(USER, "python", "-c", SUBMITTED).splitlines()[-1])
    assert told["results"] == {"sum": 6}
    assert told["tracked"]
    assert "<class 'list'>" in told["log"], "the library works in it, with a token of its own"
    assert "<!doctype html>" in told["page"]
    assert (told["reason"], told["error"]) == ("CellFailed", "ZeroDivisionError: division by zero")

    def left() -> list[str]:
        found = installed.kubectl(
            "get", "jobs,pods,secrets", "--selector", "modelyard.dev/run", "--output=name"
        ).split()
        return [name for name in found if any(run in name for run in told["ids"])]

    eventually(lambda: not left(), timeout=120, interval=0.5, what="its objects are gone")


def test_a_deleted_endpoint_leaves_nothing(installed: Release, printed: str) -> None:
    yard(installed, "endpoint.delete()")
    kinds = "deployments,replicasets,pods,services,secrets,poddisruptionbudgets,horizontalpodautoscalers"

    def left() -> list[str]:
        chosen = f"modelyard.dev/endpoint={NAME}"
        return installed.kubectl("get", kinds, "--selector", chosen, "--output=name").split()

    eventually(lambda: not left(), timeout=120, interval=0.5, what="its objects are gone")
    url, headers, body = curl(printed)
    answer = httpx.post(url, headers=headers, content=body, timeout=30, trust_env=False)
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"there is no endpoint {USER}/{NAME}"
