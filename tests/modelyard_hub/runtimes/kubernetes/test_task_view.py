"""What is said of a task, for every way in which its Job and its pod can fare."""

from __future__ import annotations

from typing import Any

import pytest

from harness.observed_pods import conditions, container
from harness.observed_tasks import BEGAN, ended_pod, job_of, running_pod, says, small_task, task_pod
from modelyard_api.errors import QuotaExceeded
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.kubernetes.task_record import Progress, read_progress, read_task, task_record
from modelyard_hub.runtimes.kubernetes.task_view import SeenTask, observed_task, of_job, of_pod, status_of, with_status
from modelyard_hub.runtimes.task import ObservedTask, moment

QUEUED, RUNNING, SUCCEEDED, FAILED = TaskState
TASK = small_task()
BASE = ObservedTask(TASK.name, TASK.digest(), labels=TASK.labels)


def record(**progress: Any) -> dict[str, Any]:
    made = task_record(TASK, "yard", Progress(**progress))
    return {**made, "metadata": {**made["metadata"], "uid": "1", "resourceVersion": "1"}}


def unscheduled() -> dict[str, Any]:
    said = {"reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}
    found = [{**c, **said} for c in conditions(PodScheduled="False")]
    return task_pod("Pending", {}, conditions=found, containerStatuses=[], initContainerStatuses=[])


def waits(reason: str, message: str) -> dict[str, Any]:
    return task_pod("Pending", {"waiting": {"reason": reason, "message": message}})


def taken(by: str, **changes: Any) -> dict[str, Any]:
    found = [{"type": "DisruptionTarget", "status": "True", "reason": by, "message": "Words."}]
    return ended_pod(143, says("Stopped", 143), conditions=found, **changes)


@pytest.mark.parametrize(
    ("pod", "state", "code", "reason", "words"),
    [
        (unscheduled(), QUEUED, None, "Unschedulable", "Insufficient nvidia.com/gpu. Ask for less"),
        (waits("PodInitializing", ""), QUEUED, None, "", ""),
        (waits("ErrImagePull", "not found"), QUEUED, None, "ErrImagePull", "not found"),
        (task_pod("Pending", {}, initContainerStatuses=[container("deliver", state={"waiting": {
            "reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}})]),
         QUEUED, None, "CreateContainerConfigError", "secret"),
        (running_pod(), RUNNING, None, "", ""),
        # Its command has ended, and what it left is still being delivered.
        (task_pod("Running", {"terminated": {"exitCode": 137, "startedAt": BEGAN}}), RUNNING, None, "", ""),
        (running_pod(conditions=conditions(Ready="False", ContainersReady="True")), RUNNING, None, "NodeLost",
         "node-1 does not report"),
        (ended_pod(0, says()), SUCCEEDED, 0, "", ""),
        (ended_pod(3, says("Exited", 3)), FAILED, 3, "Exited", "It says Exited."),
        (ended_pod(1, says("UploadFailed")), FAILED, 0, "UploadFailed", "It says"),
        (ended_pod(137, says("OutOfMemory", 137)), FAILED, 137, "OutOfMemory", "It says"),
        (ended_pod(137, "begun\n", "OOMKilled"), FAILED, 137, "OutOfMemory", "limit of 256 MiB"),
        (ended_pod(137), FAILED, 137, "Killed", "by its node"),
        (ended_pod(139), FAILED, 139, "Signaled", "SIGSEGV"),
        (ended_pod(2, "usage: task"), FAILED, 2, "Exited", "exit code 2"),
        (ended_pod(128, "exec: python: not found", "StartError"), FAILED, 128, "StartError", "python: not found"),
        (taken("EvictionByEvictionAPI"), FAILED, 143, "Evicted", "such as to drain it. Words."),
        (taken("TerminationByKubelet", reason="Evicted", message="low on memory"), FAILED, 143, "Evicted",
         "low on memory"),
        (taken("PreemptionByScheduler"), FAILED, 143, "Preempted", "higher priority"),
        (taken("DeletionByTaintManager"), FAILED, 143, "NodeLost", "node-1"),
        (taken("SomethingNew"), FAILED, 143, "Evicted", "Words."),
        (task_pod("Failed", {}, reason="Evicted", message="no room"), FAILED, None, "Evicted", "no room"),
        (task_pod("Failed", {"waiting": {"reason": "ImagePullBackOff"}}, reason="DeadlineExceeded"), FAILED, None,
         "DeadlineExceeded", "within its time"),
        (task_pod("Failed", {}, reason="UnexpectedAdmissionError", message="no GPU"), FAILED, None,
         "UnexpectedAdmissionError", "no GPU"),
    ],
)  # fmt: skip
def test_a_pod_says_how_far_it_is(
    pod: dict[str, Any], state: TaskState, code: int | None, reason: str, words: str
) -> None:
    found = of_pod(pod)
    assert (found.state, found.exit_code, found.reason) == (state, code, reason)
    assert words in found.message


@pytest.mark.parametrize(
    ("job", "state", "code", "reason"),
    [
        (None, FAILED, None, "Deleted"),
        (job_of(type="Complete"), SUCCEEDED, 0, ""),
        (job_of(type="Failed", reason="PodFailurePolicy",
                message="Container task for pod yard/x failed with exit code 3 matching FailJob rule at index 1"),
         FAILED, 3, "Exited"),
        (job_of(type="Failed", reason="PodFailurePolicy",
                message="Pod yard/x has condition DisruptionTarget matching FailJob rule at index 0"),
         FAILED, None, "Evicted"),
        (job_of(type="Failed", reason="BackoffLimitExceeded", message="Job has reached the limit"), FAILED, None,
         "Lost"),
    ],
)  # fmt: skip
def test_a_job_whose_pod_is_gone_says_what_it_knows(
    job: dict[str, Any] | None, state: TaskState, code: int | None, reason: str
) -> None:
    found = of_job(job)
    assert (found.state, found.exit_code, found.reason) == (state, code, reason)


def test_an_end_that_was_seen_stays() -> None:
    seen = SeenTask(record(job="job-1"), TASK, job_of(), ended_pod(3, says("Exited", 3, "last")))
    done = observed_task(seen)
    assert (done.state, done.exit_code, done.log_tail) == (FAILED, 3, ("last",))
    assert observed_task(SeenTask(record(job="job-1"), TASK, None, None, before=done)) == done
    kept = record(job="job-1", end=status_of(done))
    assert observed_task(SeenTask(kept, TASK, None, running_pod())) == done
    leaving = {**kept, "metadata": {**kept["metadata"], "deletionTimestamp": BEGAN}}
    assert observed_task(SeenTask(leaving, TASK, None, None)).deleting


def test_one_that_ran_is_running_until_it_is_known_why_its_pod_is_gone() -> None:
    before = observed_task(SeenTask(record(job="job-1"), TASK, job_of(), running_pod()))
    assert before.state is RUNNING
    assert observed_task(SeenTask(record(job="job-1"), TASK, None, None, before=before)) == before


def test_why_it_has_not_begun() -> None:
    quota = QuotaExceeded("the quota is used up: pods=1")
    found = observed_task(SeenTask(record(), TASK, job_of(), None, quota))
    assert (found.state, found.reason) == (QUEUED, "QuotaExceeded")
    assert "pods=1" in found.message
    suspended = {**job_of(), "spec": {"suspend": True}}
    assert observed_task(SeenTask(record(), TASK, suspended, None)).reason == "Suspended"
    assert observed_task(SeenTask(record(), TASK, None, None)) == BASE


def test_one_that_never_began_remembers_what_kept_it() -> None:
    before = observed_task(SeenTask(record(), TASK, job_of(), waits("ImagePullBackOff", "no image x")))
    late = task_pod("Failed", {"waiting": {}}, reason="DeadlineExceeded")
    found = observed_task(SeenTask(record(), TASK, job_of(), late, before=before))
    assert (found.state, found.reason) == (FAILED, "ImagePullBackOff")
    assert found.message.startswith("It could not begin in time. ")
    assert "no image x" in found.message


def test_a_record_survives_being_written_and_what_others_wrote_into_it() -> None:
    end = TaskStatus(FAILED, 3, "Exited", "It ended.", "2026-01-01T00:00:00+00:00", "", ("a",))
    written = record(job="job-1", end=end)
    assert read_task(written) == TASK
    assert read_progress(written) == Progress("job-1", end)
    assert status_of(with_status(BASE, end)) == end
    written["metadata"]["annotations"]["modelyard.dev/ended"] = '{"state": "gone"}'
    assert read_progress(written) == Progress("job-1")
    assert read_task({"data": {"task.json": "bm8="}, "metadata": {}}) is None
    assert observed_task(SeenTask(written, None, None, None)).digest == ""


def test_moments() -> None:
    assert moment("") is None
    assert moment("yesterday") is None
    assert moment(BEGAN) is not None


def shard(index: int, pod: dict[str, Any], at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """A pod of that shard."""
    meta = pod["metadata"]
    labels = {**meta["labels"], "batch.kubernetes.io/job-completion-index": str(index)}
    return {**pod, "metadata": {**meta, "labels": labels, "creationTimestamp": at}}


SHARDED = small_task(shards=2)


def observed_shards(*pods: dict[str, Any], before: ObservedTask | None = None, **condition: str) -> ObservedTask:
    seen = SeenTask(record(job="job-1"), SHARDED, job_of(**condition), None, None, before, pods)
    return observed_task(seen)


def test_shards_run_while_one_does_and_end_with_their_job() -> None:
    running = observed_shards(shard(0, running_pod()), shard(1, ended_pod(0, says())))
    assert running.state is TaskState.running
    assert observed_shards(before=running) == running, "between two pods"
    failed, again = shard(1, ended_pod(137, says("Signaled", 137))), shard(1, running_pod(), at="2026-01-01T00:05:00Z")
    assert observed_shards(failed, again).state is TaskState.running
    done = observed_shards(
        shard(0, ended_pod(0, says())),
        failed,
        shard(1, ended_pod(0, says()), again["metadata"]["creationTimestamp"]),
        type="Complete",
    )
    assert (done.state, done.exit_code) == (TaskState.succeeded, 0)
    assert observed_shards(type="Complete").state is TaskState.succeeded, "their pods are gone"


def test_the_shard_that_failed_is_named_and_not_those_that_were_ended_for_it() -> None:
    pods = shard(0, ended_pod(143, says("Stopped", 143))), shard(1, ended_pod(3, says("Exited", 3, "bad row")))
    failed = observed_shards(*pods, type="Failed", message="Container task for pod x failed with exit code 3 matching")
    assert (failed.state, failed.reason, failed.exit_code) == (TaskState.failed, "Exited", 3)
    assert failed.message == "Shard 1 of 2: It says Exited."
    assert failed.log_tail == ("bad row",)
    gone = observed_shards(type="Failed", message="Container task for pod x failed with exit code 3 matching")
    assert (gone.state, gone.exit_code) == (TaskState.failed, 3)
