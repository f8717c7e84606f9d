"""Each check on something that is broken, and on something that is not."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.disk import small_disk
from harness.fake_cluster import fake_cluster
from modelyard_api.conditions import Condition, ConditionStatus
from modelyard_api.endpoints import Endpoint, EndpointSpec, EndpointStatus, RevisionSpec, RevisionStatus, TrafficTarget
from modelyard_api.names import owner_name
from modelyard_api.resources import MiB
from modelyard_api.volumes import Trashed, Volume, VolumeStatus
from modelyard_hub.admin import Admin
from modelyard_hub.doctor import cluster, endpoints, folder, homes, parts
from modelyard_hub.doctor.base import Patient, examine
from modelyard_hub.settings import Settings

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    patient = Patient(Settings(home=tmp_path / "file" / "home"), None)
    (finding,) = folder.check(patient)
    assert "MODELYARD_HOME" in finding.remedy


def test_a_disk_that_is_nearly_full_says_what_runs_take(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32 * MiB) as disk:
        left = disk.path / "mlflow" / "artifacts" / "runs" / "ada" / "1" / "1"
        left.mkdir(parents=True)
        (left / "log").write_bytes(b"0" * 5 * MiB)
        (finding,) = folder.check(Patient(Settings(home=disk.path), None))
    assert "what runs left takes 5 MiB" in finding.evidence
    assert "MODELYARD_RUN_KEEP_DAYS" in finding.remedy


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


def volume(owner: str, kind: Literal["home", "data", "shared"] = "home", trashed: Trashed | None = None) -> Volume:
    status = VolumeStatus(size=1 << 30, trashed=trashed)
    return Volume(owner=owner, name="home", id=f"{owner}-1", kind=kind, made_at=NOW, etag='"1"', status=status)


class Yard(Admin):
    """What an administrator is told of it. A name is not its owner's name."""

    def __init__(self) -> None:
        """It needs no folder."""

    def accounts(self) -> list[str]:
        return ["Ada.L@example.com", "bob"]

    def volumes(self) -> list[Volume]:
        put = Trashed(at=NOW, until=NOW)
        return [
            volume(owner_name("Ada.L@example.com")),
            volume("zoe"),
            volume("everybody", "shared"),
            volume("eve", trashed=put),
        ]


def test_a_home_whose_user_is_gone_is_a_finding(tmp_path: Path) -> None:
    (finding,) = homes.check(Patient(Settings(home=tmp_path), Yard()))
    assert finding.subject == "volume zoe/home"
    assert finding.evidence == "there is no account named zoe; it has 1 GiB"
    assert not list(homes.check(Patient(Settings(home=tmp_path), None)))
