"""The steps of a publish, as they are told."""

from __future__ import annotations

from typing import Any

from modelyard.widgets.publish_steps import StepLog

TOLD = [
    ("package", "Pipeline"),
    ("package", "signature: classification, 4 inputs"),
    ("package", "convert: trying onnx"),
    ("package", "convert: not onnx: no converter for Own"),
    ("package", "convert: trying skops"),
    ("package", "convert: not skops: a type of its own"),
    ("package", "convert: trying pyfunc"),
    ("package", "trial: loading the package in a fresh process"),
    ("package", "mlflow: writing the MLflow model"),
    ("upload", "to MLflow"),
    ("register", "ada.churn version 3"),
    ("endpoint", "revision 3 of ada/churn"),
    ("ready", "Starting: 0 of 1 replicas are ready."),
]


def states(log: StepLog, now: float = 99) -> list[str]:
    return [row["state"] for row in log.rows(now)]


def test_steps_come_one_after_another() -> None:
    log = StepLog()
    assert states(log) == ["waiting"] * 6
    for at, (step, detail) in enumerate(TOLD):
        log.told(step, detail, float(at))
    assert states(log) == ["done"] * 5 + ["busy"]
    rows = {row["title"]: row for row in log.rows(14.5)}
    assert rows["Package"]["seconds"] == 7.0
    assert rows["Start, until it answers"]["seconds"] == 2.5
    assert rows["Try in a fresh process"]["lines"][-1] == "mlflow: writing the MLflow model"
    log.end(15.0)
    assert states(log) == ["done"] * 6


def test_each_refusal_of_a_flavor_stays_in_sight() -> None:
    log = StepLog()
    for step, detail in TOLD[:7]:
        log.told(step, detail, 0.0)
    lines: list[Any] = log.rows(1.0)[0]["lines"]
    assert "convert: not onnx: no converter for Own" in lines
    assert "convert: not skops: a type of its own" in lines


def test_a_failure_is_at_its_step() -> None:
    log = StepLog()
    log.told("package", "Pipeline", 0.0)
    log.told("upload", "to MLflow", 1.0)
    assert not log.written
    log.end(2.0, failed=True)
    assert states(log)[:4] == ["done", "waiting", "failed", "waiting"]
    log.told("endpoint", "new", 3.0)
    log.told("ready", "Starting", 4.0)
    assert log.written
