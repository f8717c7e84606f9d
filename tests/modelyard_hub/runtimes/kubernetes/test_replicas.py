"""What is said of a replica, for every way in which a pod can be unwell."""

from __future__ import annotations

from typing import Any

import pytest

from harness.observed_pods import conditions, container, crashed_pod, pod, ready_pod, small_server
from modelyard_hub.runtimes.base import Phase
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.record import read, record
from modelyard_hub.runtimes.kubernetes.replicas import Seen, crashed, indexes, observed, replica

OPTIONS = KubernetesOptions(crash_loop_after=3, tail_lines=2)


def unscheduled() -> dict[str, Any]:
    said = {"reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    found = [{**c, **said} for c in conditions(PodScheduled="False")]
    return pod(phase="Pending", podIP=None, conditions=found, containerStatuses=[], initContainerStatuses=[])


def cordoned(also: str = "") -> dict[str, Any]:
    said = {"reason": "Unschedulable", "message": f"0/1 nodes are available: 1 node(s) were unschedulable{also}."}
    found = [{**c, **said} for c in conditions(PodScheduled="False")]
    return pod(phase="Pending", podIP=None, conditions=found, containerStatuses=[], initContainerStatuses=[])


def waits(reason: str, message: str, name: str = "server") -> dict[str, Any]:
    status = [container(name, state={"waiting": {"reason": reason, "message": message}})]
    return pod(**{"initContainerStatuses" if name == "fetch" else "containerStatuses": status})


def fetching_failed() -> dict[str, Any]:
    last = {"terminated": {"exitCode": 3, "reason": "Error", "message": "looking\nno such package: s3://a/b\n"}}
    status = container("fetch", restartCount=1, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=last)
    return pod(phase="Pending", initContainerStatuses=[status], containerStatuses=[container("server", state={})])


@pytest.mark.parametrize(
    ("found", "phase", "reason", "words"),
    [
        (ready_pod(), Phase.ready, "", ""),
        (pod(), Phase.starting, "", ""),
        (unscheduled(), Phase.starting, "Unschedulable", "Insufficient cpu. Ask for less"),
        (
            cordoned(),
            Phase.starting,
            "Unschedulable",
            "(cordoned) take it when",
        ),
        (cordoned(", 1 Insufficient cpu"), Phase.starting, "Unschedulable", "opened again. Ask for less"),
        (waits("ImagePullBackOff", "Back-off pulling image x"), Phase.backoff, "ImagePullBackOff", "image x"),
        (waits("ErrImagePull", "not found", "fetch"), Phase.backoff, "ErrImagePull", "not found"),
        (waits("InvalidImageName", "UPPER"), Phase.backoff, "InvalidImageName", "UPPER"),
        (waits("CreateContainerConfigError", "no secret"), Phase.backoff, "CreateContainerConfigError", "no secret"),
        (waits("PodInitializing", ""), Phase.starting, "", ""),
        (fetching_failed(), Phase.backoff, "FetchFailed", "(exit code 3): no such package: s3://a/b"),
        (crashed_pod(3), Phase.backoff, "Exited", "exit code 3"),
        (crashed_pod(3, restarts=3), Phase.crash_loop, "Exited", "exit code 3"),
        (crashed_pod(5), Phase.backoff, "LoadTimeout", "within 108 s, nine tenths of MODELYARD_START_TIMEOUT"),
        (crashed_pod(137, reason="OOMKilled"), Phase.backoff, "OutOfMemory", "limit of 256 MiB"),
        (crashed_pod(1, message="MemoryError"), Phase.backoff, "OutOfMemory", "more memory"),
        (crashed_pod(137), Phase.backoff, "Unresponsive", "did not answer"),
        (crashed_pod(0, reason="Completed"), Phase.backoff, "Unresponsive", "did not answer"),
        (crashed_pod(139), Phase.backoff, "Signaled", "SIGSEGV"),
        (crashed_pod(128, reason="StartError", message="exec: no such file"), Phase.backoff, "StartError", "no such"),
        (pod(phase="Failed", reason="Evicted", message="low on memory."), Phase.backoff, "Evicted", "low on memory"),
        (pod(conditions=conditions(Ready="False", ContainersReady="True")), Phase.backoff, "NodeLost", "node-1"),
    ],
)
def test_a_pod_says_what_is_wrong(found: dict[str, Any], phase: Phase, reason: str, words: str) -> None:
    said = replica(0, found, OPTIONS)
    assert (said.phase, said.reason) == (phase, reason)
    assert words in said.message
    assert said.restarts == sum(
        c["restartCount"] for k in ("initContainerStatuses", "containerStatuses") for c in found["status"][k]
    )


def test_a_crash_keeps_its_last_lines_until_it_runs_again() -> None:
    found = crashed_pod(3, message="one\ntwo\nthree")
    assert replica(0, found, OPTIONS).log_tail == ("two", "three")
    assert crashed(found)
    found["status"]["containerStatuses"][0]["state"] = {"running": {}}
    again = replica(0, found, OPTIONS)
    assert (again.phase, again.reason, again.log_tail) == (Phase.starting, "Exited", ())


def test_a_ready_one_that_was_started_again_tells_how_it_ended() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:30Z"}}
    status = [container("server", restartCount=1, state={"running": {}}, lastState=last)]
    found = replica(0, ready_pod() | {"status": {**ready_pod()["status"], "containerStatuses": status}}, OPTIONS)
    assert (found.phase, found.reason) == (Phase.ready, "")
    assert found.ended == ("OutOfMemory at 2026-01-01 00:00:30 UTC: It used more memory than its limit of 256 MiB.")
    assert not replica(0, ready_pod(), OPTIONS).ended
    del status[0]["lastState"]
    forgotten = replica(0, ready_pod() | {"status": {**ready_pod()["status"], "containerStatuses": status}}, OPTIONS)
    assert forgotten.ended == "its node does not tell any more how the one before it ended."


def test_one_crash_after_a_long_life_is_no_loop() -> None:
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T01:00:00Z"}
    assert replica(0, crashed_pod(3, restarts=9, **times), OPTIONS).phase is Phase.backoff


def test_who_leaves_is_stopping_whatever_else_it_is() -> None:
    leaving = ready_pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:02:00Z"
    assert replica(0, leaving, OPTIONS).phase is Phase.stopping
    assert replica(0, ready_pod(), OPTIONS, leaving=True).phase is Phase.stopping


def test_a_pod_keeps_its_index() -> None:
    first = indexes({}, [ready_pod(2), ready_pod(0), ready_pod(1)])
    assert first == {"pod-0": 0, "pod-1": 1, "pod-2": 2}
    assert indexes(first, [ready_pod(2), ready_pod(3)]) == {"pod-2": 2, "pod-3": 0}


def seen(server: Any, **more: Any) -> Seen:
    made = record(server, "yard")
    made["metadata"]["uid"] = "root"
    return Seen(**{"record": made, "server": read(made), "deployment": None, "pods": {}, **more})


def test_a_record_gives_back_the_server() -> None:
    server = small_server(environment={"A": "ü"}, max_replicas=4)
    assert read(record(server, "yard")) == server
    assert observed(seen(server), OPTIONS).digest == server.digest()
    assert observed(seen(server), OPTIONS).scaled_to == 1


def test_what_others_put_into_a_record_is_not_the_servers() -> None:
    made = record(small_server(), "yard")
    assert read({**made, "data": {**made["data"], "extra": "eA=="}}) == small_server()


def test_a_record_that_nobody_can_read_is_to_be_written_again() -> None:
    broken = {**record(small_server(), "yard"), "data": {"server.json": "e30="}}
    assert read(broken) is None
    found = observed(Seen(broken, None, None, {}), OPTIONS)
    assert found.digest == ""
    assert found.labels["modelyard.dev/endpoint"] == "churn"


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (
            'pods "a-1" is forbidden: exceeded quota: team, requested: cpu=1, used: cpu=2, limited: cpu=2',
            "QuotaExceeded",
            "The quota is used up: team, requested: cpu=1, used: cpu=2, limited: cpu=2.",
        ),
        ('pods "a-1" is forbidden: violates PodSecurity "restricted:latest"', "Refused", "violates PodSecurity"),
    ],
)
def test_pods_that_the_cluster_does_not_make_are_a_replica_that_says_why(message: str, reason: str, words: str) -> None:
    refused = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]
    deployment = {"spec": {"replicas": 2}, "status": {"conditions": refused}}
    found = observed(seen(small_server(replicas=2), deployment=deployment, pods={0: ready_pod()}), OPTIONS)
    assert [(r.index, r.phase) for r in found.replicas] == [(0, Phase.ready), (1, Phase.backoff)]
    assert found.replicas[1].reason == reason
    assert words in found.replicas[1].message
