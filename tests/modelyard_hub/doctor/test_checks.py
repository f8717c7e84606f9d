"""Each check on something that is broken, and on something that is not."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path

from harness.fake_cluster import fake_cluster
from modelyard_api.conditions import Condition, ConditionStatus
from modelyard_api.endpoints import Endpoint, EndpointSpec, EndpointStatus, RevisionSpec, RevisionStatus, TrafficTarget
from modelyard_hub.doctor import cluster, endpoints, folder, parts
from modelyard_hub.doctor.base import Patient, examine
from modelyard_hub.settings import Settings

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    patient = Patient(Settings(home=tmp_path / "file" / "home"), None)
    (finding,) = folder.check(patient)
    assert "MODELYARD_HOME" in finding.remedy


def test_nothing_runs_and_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        patient = Patient(Settings(home=tmp_path, port=taken.getsockname()[1]), None)
        findings = examine(patient, [parts.check])
    assert [f.subject for f in findings] == [f"port {patient.settings.port}", str(tmp_path)]


def endpoint(status: ConditionStatus) -> Endpoint:
    ready = Condition(type="Ready", status=status, reason="CrashLoop", message="It ends at once.", since=NOW)
    spec = EndpointSpec(
        revisions=(RevisionSpec(number=1, model="ada.churn", version="1"),),
        traffic=(TrafficTarget(revision=1, percent=100),),
    )
    observed = EndpointStatus(
        conditions=(ready,), revisions=(RevisionStatus(number=1, log_tail=("ImportError: no such thing",)),)
    )
    return Endpoint(owner="ada", name="churn", created_at=NOW, updated_at=NOW, spec=spec, status=observed)


def test_an_endpoint_that_crashes_is_named_with_its_last_words() -> None:
    (finding,) = endpoints.not_ready(endpoint(ConditionStatus.false))
    assert finding.subject == "ada/churn"
    assert "CrashLoop since 2026-01-02 03:04" in finding.evidence
    assert "ImportError: no such thing" in finding.cause


def test_a_ready_endpoint_is_no_finding() -> None:
    assert not list(endpoints.not_ready(endpoint(ConditionStatus.true)))


def test_no_cluster_is_asked_where_none_is_named(tmp_path: Path) -> None:
    assert not list(cluster.check(Patient(Settings(home=tmp_path), None)))


def test_a_cluster_that_is_away_is_a_finding(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, runtime="kubernetes", kubeconfig=tmp_path / "none", namespace="yard")
    image, away = cluster.check(Patient(settings, None))
    assert image.subject == "MODELYARD_SERVER_IMAGE"
    assert "MODELYARD_KUBECONFIG" in away.remedy


async def test_each_right_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    async with fake_cluster() as made:
        made.denied = {("deployments", "patch"), ("pods/log", "get")}
        settings = Settings(
            home=tmp_path,
            runtime="kubernetes",
            kubeconfig=made.kubeconfig(tmp_path),
            namespace="yard",
            server_image="server:1",
        )
        found = await asyncio.to_thread(lambda: list(cluster.check(Patient(settings, None))))
        assert [f.subject for f in found] == ["patch deployments", "get pods/log"]
