"""What is said of a start that does not go on: tables over objects as a real cluster told them (`observed/`)."""

# ruff: noqa: E501  # sentences as they are said, in one piece each

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelyard_hub.spawner.starts.causes import words
from modelyard_hub.spawner.starts.causes.room import requests, usage
from modelyard_hub.spawner.starts.diagnosis import Diagnosis, Observed, diagnose, refused, shm_too_large

FOLDER = Path(__file__).parent / "observed"
NOW = datetime.fromisoformat("2026-11-26T20:56:30Z")
NODES = tuple(json.loads((FOLDER / "nodes.json").read_text()))
USED = {"modelyard-test": {"cpu": 0.6, "memory": 2.0**31, "pods": 20.0}}
ASK = "An administrator has to look at it."
AGAIN = "It is tried again. If it stays, an administrator has to look."


def observed(case: str, **more: Any) -> Observed:
    found = json.loads((FOLDER / f"{case}.json").read_text())
    lists = {name: tuple(found[name]) for name in ("events", "claims", "attachments") if name in found}
    return replace(Observed(now=NOW, pod=found["pod"], nodes=NODES, used=USED, **lists), **more)


NEVER = "Choose a smaller size; waiting does not help unless a node is added."
CASES: dict[str, tuple[str, str, str]] = {
    "no-cpu": ("schedule", "no-room", f"No node has 8 CPUs; the most is 2 CPUs on modelyard-test (1.4 free). {NEVER}"),
    "no-memory": ("schedule", "no-room", "No node has 64 GiB of memory; the most is 23.3 GiB of memory on modelyard-test "
                  f"(21.3 GiB free). {NEVER}"),
    "no-gpu": ("schedule", "no-room", f"No node has 1 GPU (nvidia.com/gpu). {NEVER}"),
    "no-cpu-and-memory": ("schedule", "no-room", "No node has 8 CPUs and 64 GiB of memory; the most is 2 CPUs on "
                          "modelyard-test (1.4 free) and 23.3 GiB of memory on modelyard-test (21.3 GiB "
                          f"free). {NEVER}"),
    "selector": ("schedule", "no-node", f"No node has the label disk=fast. {ASK}"),
    "tainted": ("schedule", "taint", "The nodes that fit are kept for other work: zz-gpu-node has the taint "
                "nvidia.com/gpu=present. Choose another size, or ask an administrator."),
    "gated": ("schedule", "gated", "It is held back by modelyard.dev/queue. Wait for its turn."),
    "claim-missing": ("attach", "claim-missing", f"Its volume claim home-missing does not exist. {ASK}"),
    "class-missing": ("attach", "storage-class", "The volume home-classless cannot be made: there is no storage class "
                      f"no-such-class. {ASK}"),
    "static-unbound": ("attach", "storage-class", "There is no free volume for the claim home-static, and no storage class "
                       f"that makes one. {ASK}"),
    "claim-refused": ("attach", "provisioning", "The volume home-many cannot be made: a volume is one node's: ask for "
                      f"ReadWriteOnce. {AGAIN}"),
    "waits-for-holder": ("attach", "volume-in-use", "Its home volume is still in use on modelyard-test, by holder. "
                         "Stop that server."),
    "no-secret-volume": ("attach", "mount", f'The volume s cannot be mounted: secret "nothing" not found. {AGAIN}'),
    "host-path-missing": ("attach", "mount", "The volume h cannot be mounted: hostPath type check failed: /no/such/folder "
                          f"is not a directory. {AGAIN}"),
    "odd-runtime": ("start", "sandbox", "Its pod cannot be set up on modelyard-test: failed to get sandbox runtime: no "
                    f'runtime for "odd" is configured. {ASK}'),
    "no-image": ("pull", "registry-away", "The image 127.0.0.1:9/nowhere/notebook:1 cannot be pulled: the registry does "
                 "not answer. It is tried again."),
    "never-image": ("pull", "image-missing", "The image localhost/modelyard/nothing:1 is not on modelyard-test, and may "
                    f"not be pulled. {ASK}"),
    "bad-image-name": ("pull", "image-name", f"'Not A Name' is no name of an image. {ASK}"),
    "pulling": ("pull", "pulling", "Its image is being pulled to modelyard-test: 10 s so far."),
    "no-configmap-env": ("start", "command", f'The server cannot be started: secret "nothing" not found. {ASK}'),
    "no-command": ("start", "command", 'The server cannot be started: exec: "/no/such/program": stat /no/such/program: no '
                   f"such file or directory. {ASK}"),
    "crash": ("ready", "ended", f"The server ended with exit code 3, 5 times so far. {ASK}"),
    "oom": ("ready", "memory", "The server used more than its memory of 48 MiB and was ended, 5 times so far. "
            "Choose more memory."),
    "not-ready": ("ready", "silent", "The server runs and has not answered for 2 min 34 s. Its log is empty, or cannot be "
                  "read."),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_cause_is_said_with_what_helps(case: str) -> None:
    seen = observed(case, **({"nodes": None} if case == "waits-for-holder" else {}))
    found = diagnose(seen)
    assert (found.phase, found.reason, found.text) == CASES[case]
    assert found.capacity == (found.reason == "no-room")
    assert found.wrong == (case != "pulling")


def test_every_object_of_the_folder_is_in_the_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} - set(CASES) == {
        "nodes", "refusals", "good", "held", "holder", "taint-or-cpu", "shm-full"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("case", "evidence"),
    [
        ("no-cpu", "The scheduler: 0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."),
        ("claim-refused", "ProvisioningFailed: failed to provision volume with StorageClass"),
        ("waits-for-holder", "FailedAttachVolume: Multi-Attach error"),
        ("no-image", "dial tcp 127.0.0.1:9: connect: connection refused"),
        ("not-ready", "Unhealthy: Readiness probe failed"),
    ],
)
def test_what_the_cluster_said_is_kept_as_evidence(case: str, evidence: str) -> None:
    found = diagnose(observed(case, nodes=None))
    assert evidence in "\n".join(found.evidence)


def test_room_that_others_use_is_told_with_the_best_node() -> None:
    big = {"metadata": {"name": "big"}, "status": {"allocatable": {"cpu": "32", "memory": "64Gi", "pods": "110"}}}
    seen = observed("no-cpu", nodes=(*NODES, big), used={**USED, "big": {"cpu": 29.5}})
    found = diagnose(seen)
    assert found.cause == "No node has 8 CPUs free; the most is 2.5 CPUs on big."
    assert found.remedy == "Choose a smaller size, or wait until a server that runs now stops."
    enough = diagnose(replace(seen, used={"big": {"cpu": 1.0}}))
    assert enough.cause == "No node has 8 CPUs free at once."


def test_a_claim_that_only_the_scheduler_does_not_see_is_not_said_to_be_missing() -> None:
    """As after a restart of the API server."""
    claim = {"metadata": {"name": "home-missing"}, "status": {"phase": "Pending"}}
    found = diagnose(observed("claim-missing", claims=(claim,)))
    cause = "The cluster's scheduler has not seen its volume claim home-missing yet, which is there."
    assert (found.phase, found.reason, found.text) == ("schedule", "claim-unseen", f"{cause} {AGAIN}")


@pytest.mark.parametrize("end", [".", ". no new claims to deallocate, preemption: 0/1 nodes are available.", ", 1 x."])
def test_the_resource_is_read_wherever_it_stands(end: str) -> None:
    pod = json.loads((FOLDER / "no-gpu.json").read_text())["pod"]
    condition = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    condition["message"] = f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu{end}"
    assert diagnose(Observed(NOW, pod)).cause == "No node has 1 GPU (nvidia.com/gpu) free."


def test_without_the_right_to_see_nodes_it_says_so() -> None:
    found = diagnose(observed("no-cpu", nodes=None, used=None))
    assert found.cause == "No node has 8 CPUs free."
    assert found.evidence[0] == "JupyterHub may not see the nodes: how much is free is not known."
    big = {"metadata": {"name": "big"}, "status": {"allocatable": {"cpu": "32"}}}
    unseen = diagnose(observed("no-cpu", nodes=(big,), used=None))
    assert unseen.evidence[0] == "JupyterHub may not see all pods: how much is free is not known."


def event(reason: str, message: str, ago: float = 1.0, kind: str = "Pod") -> dict[str, Any]:
    stamp = (NOW - timedelta(seconds=ago)).isoformat()
    return {"reason": reason, "message": message, "lastTimestamp": stamp, "involvedObject": {"kind": kind, "name": "x"}}


def test_a_node_that_is_being_added_is_nothing_wrong() -> None:
    grown = event("TriggeredScaleUp", "pod triggered scale-up: [{group 1->2 (max: 5)}]")
    found = diagnose(observed("no-cpu", nodes=None, events=(grown,)))
    assert (found.reason, found.wrong, found.capacity) == ("scaling-up", False, False)
    assert found.cause == "No node has 8 CPUs free. Another node is being started."


TIME = "0/1 nodes are available: 1 node(s) had volume node affinity conflict. preemption: none"
ATTACH = 'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = Internal desc = rbd image is locked'
CNI = 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "1": plugin type="bridge" failed (add): no IP addresses available in range set'  # fmt: skip


@pytest.mark.parametrize(
    ("base", "events", "reason", "cause"),
    [
        ("pulling", [event("FailedAttachVolume", ATTACH)], "attach",
         "Its home volume cannot be attached to modelyard-test: rbd image is locked."),
        ("pulling", [event("FailedCreatePodSandBox", CNI)], "network",
         'Its network cannot be set up on modelyard-test: failed to setup network for sandbox "1": plugin type="bridge" '
         "failed (add): no IP addresses available in range set."),
        ("pulling", [event("VolumePermissionChangeInProgress", "Setting volume ownership, processed 30000 files.")],
         "ownership", "The owner of the files in its home volume is being set."),
        ("pulling", [event("Pulling", 'Pulling image "a"', 40), event("Pulled", "x", 2)], "starting",
         "The server's container is being started."),
        ("pulling", [event("FailedAttachVolume", ATTACH, 30), event("SuccessfulAttachVolume", "x", 5)], "preparing",
         "modelyard-test prepares its volume and its network."),
        ("pulling", [], "preparing", "modelyard-test prepares its volume and its network."),
    ],
)  # fmt: skip
def test_what_the_events_of_a_placed_pod_mean(base: str, events: list[dict[str, Any]], reason: str, cause: str) -> None:
    found = diagnose(observed(base, events=tuple(events)))
    assert (found.reason, found.cause) == (reason, cause)


def test_pulling_tells_size_and_what_is_usual() -> None:
    image = {"names": ["127.0.0.1:18555/big/notebook:1"], "sizeBytes": 3 << 30}
    having = {"metadata": {"name": "other"}, "status": {"images": [image]}}
    found = diagnose(observed("pulling", nodes=(having,), usual={"pull": 95.0}))
    assert found.cause == "Its image is being pulled to modelyard-test: 3 GiB, 10 s so far, usually 1 min 35 s."


def test_a_node_that_does_not_report_is_the_cause() -> None:
    silent = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-11-26T20:55:30Z", "message": "stopped"}
    node = {"metadata": {"name": "modelyard-test"}, "status": {"conditions": [silent]}}
    found = diagnose(observed("pulling", nodes=(node,)))
    assert (found.reason, found.cause) == ("node-away", "Its node modelyard-test has given no answer for 1 min.")


def test_a_server_that_starts_is_nothing_wrong_until_it_is_late() -> None:
    soon = datetime.fromisoformat("2026-11-26T20:54:05Z")
    found = diagnose(observed("good", now=soon, usual={"ready": 6.0}))
    assert (found.wrong, found.cause) == (False, "The server starts: 11 s so far, usually 6 s.")
    late = diagnose(observed("good", log=("[I] loading", "[E] boom")))
    assert (late.wrong, late.evidence, late.remedy) == (
        True,
        ("[I] loading", "[E] boom"),
        "The end of its log is below.",
    )


def test_a_full_shared_memory_is_named_from_the_log() -> None:
    found = diagnose(observed("shm-full", log=("OSError: [Errno 28] No space left on device: '/dev/shm/x'",)))
    assert (found.reason, found.remedy) == ("shm", "Choose more shared memory.")


@pytest.mark.parametrize(
    ("status", "reason", "capacity"),
    [
        ({"reason": "Evicted", "message": 'Usage of EmptyDir volume "shm" exceeds the limit "1Gi". '}, "shm", False),
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "evicted", True),
        (
            {"reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough resource: cpu"},
            "rejected",
            True,
        ),
        ({"reason": "SysctlForbidden", "message": "forbidden sysctl"}, "rejected", False),
    ],
)
def test_a_pod_that_is_over(status: dict[str, str], reason: str, capacity: bool) -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"nodeName": "a"}, "status": {"phase": "Failed", **status}}
    found = diagnose(Observed(NOW, pod))
    assert (found.reason, found.capacity, found.final) == (reason, capacity, True)


REFUSALS = json.loads((FOLDER / "refusals.json").read_text())
REFUSED = {
    "quota": ("quota", "The quota team is used up: 100 MiB of 1 GiB of memory in use, this asks for 2 GiB and 0.5 of 1 "
              "CPU in use, this asks for 0.8."),
    "quota-cpu": ("quota", "The quota team is used up: 0.5 of 1 CPU in use, this asks for 0.7."),
    "quota-gpu": ("quota", "The quota team is used up: 0 of 0 GPUs (nvidia.com/gpu) in use, this asks for 1."),
    "quota-storage": ("quota", "The quota team is used up: 0 bytes of 2 GiB of storage in use, this asks for 20 GiB."),
    "limit-range": ("limit-range", "This server asks for 2 CPUs; the maximum here is 0.9 CPUs."),
    "no-limit": ("admission", "The cluster refuses the server: failed quota: team: must specify limits.memory for: "
                 "notebook; requests.memory for: notebook."),
    "pod-security": ("admission", "The cluster refuses the server: it breaks the namespace's security rules."),
    "priority": ("admission", "The cluster refuses the server: no PriorityClass with name nothing was found."),
    "runtime": ("admission", 'The cluster refuses the server: pod rejected: RuntimeClass "odd" not found.'),
    "invalid": ("admission", 'The cluster refuses the server: spec.containers[0].resources.requests: Invalid value: "2": '
                "must be less than or equal to cpu limit of 1."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_said_with_its_numbers(case: str) -> None:
    found = refused(*REFUSALS[case])
    assert isinstance(found, Diagnosis)
    assert (found.reason, found.cause) == REFUSED[case]
    assert found.capacity == (found.reason == "quota")
    assert found.final
    assert found.evidence == (REFUSALS[case][1],)


def test_what_may_pass_is_no_refusal() -> None:
    assert refused(500, "etcdserver: request timed out") is None
    assert refused(429, "too many requests") is None


def pod_with(shm: str, memory: str) -> dict[str, Any]:
    volumes = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}}]
    return {"spec": {"volumes": volumes, "containers": [{"resources": {"limits": {"memory": memory}}}]}}


def test_shared_memory_over_the_memory_is_refused() -> None:
    found = shm_too_large(pod_with("4Gi", "2147483648"))
    assert found
    assert found.text == (
        "Its shared memory (/dev/shm) of 4 GiB is part of its memory, which is only 2 GiB. "
        "Choose less shared memory, or more memory."
    )
    assert shm_too_large(pod_with("2Gi", "2Gi")) is None


def test_a_pods_requests_are_the_larger_of_what_runs_first_and_later() -> None:
    container = {"resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}}
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    first = {"resources": {"requests": {"cpu": "2"}}}
    spec = {"containers": [container], "initContainers": [sidecar, first], "overhead": {"cpu": "50m"}}
    assert requests({"spec": spec}) == {"cpu": 2.05, "memory": 2.0**30, "pods": 1.0}
    pods = [{"spec": {**spec, "nodeName": "a"}, "status": {"phase": phase}} for phase in ("Running", "Failed")]
    assert usage(pods) == {"a": {"cpu": 2.05, "memory": 2.0**30, "pods": 1.0}}


@pytest.mark.parametrize(
    ("quantity", "number"), [("500m", 0.5), ("2Gi", 2.0**31), ("1e3", 1e3), ("24479292Ki", 24479292 * 1024), (8, 8)]
)
def test_quantities(quantity: object, number: float) -> None:
    assert words.number(quantity) == number


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.6, "8 s"), (60, "1 min"), (154, "2 min 34 s"), (3600, "1 h"), (4200, "1 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_pod_in_kueues_queue_waits_for_its_turn_and_nothing_is_wrong() -> None:
    """As the gate of another program that the cluster told of, with Kueue's names."""
    seen = observed("gated")
    assert seen.pod is not None
    pod = json.loads(json.dumps(seen.pod))
    pod["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team"
    found = diagnose(replace(seen, pod=pod))
    assert found.cause == "It waits for its turn in the cluster's queue team (Kueue)."
    assert (found.phase, found.reason, found.wrong, found.capacity) == ("queue", "kueue", False, True)
