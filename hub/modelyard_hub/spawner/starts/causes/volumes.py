"""The home volume: not made, not attached, not mounted."""

from __future__ import annotations

import re

from modelyard_hub.spawner.starts.causes.base import (
    ADMINISTRATOR,
    TRIED_AGAIN,
    Diagnosis,
    Object,
    Observed,
    parse,
    said,
    when,
)
from modelyard_hub.spawner.starts.causes.words import duration, joined, number, size

_MISSING = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_USED_BY = re.compile(r"already used by pod\(s\) ([\w., -]+)")
_SETUP = re.compile(r'(?:MountVolume|UnmountVolume|MapVolume)\.\w+ failed for volume "([^"]+)"\s*:\s*(.*)', re.DOTALL)
_SELECTED = "volume.kubernetes.io/selected-node"


def unbound(seen: Observed, message: str) -> Diagnosis | None:
    """Why a claim has no volume, where that is what the pod waits for."""
    if found := _MISSING.search(message):
        if any(claim["metadata"]["name"] == found[1] for claim in seen.claims or ()):
            cause = f"The cluster's scheduler has not seen its volume claim {found[1]} yet, which is there."
            return Diagnosis("schedule", "claim-unseen", cause, (message,), TRIED_AGAIN)
        cause = f"Its volume claim {found[1]} does not exist."
        return Diagnosis("attach", "claim-missing", cause, (message,), ADMINISTRATOR)
    waiting = [c for c in seen.claims or () if (c.get("status") or {}).get("phase") != "Bound"]
    lost = next((c for c in waiting if (c.get("status") or {}).get("phase") == "Lost"), None)
    if lost:
        cause = f"The volume of the claim {lost['metadata']['name']} is gone."
        return Diagnosis("attach", "claim-lost", cause, (), ADMINISTRATOR)
    blocking = "unbound immediate" in message or "didn't find available persistent volumes" in message
    started = [c for c in waiting if _SELECTED in (c["metadata"].get("annotations") or {})]
    if not (blocking or started):
        return None
    return _why(seen, next(iter(started or waiting), None))


def _why(seen: Observed, claim: Object | None) -> Diagnosis:
    name = claim["metadata"]["name"] if claim else "its claim"
    kind = ((claim or {}).get("spec") or {}).get("storageClassName") or ""
    failed = seen.last("ProvisioningFailed", kind="PersistentVolumeClaim")
    binding = seen.last("FailedBinding", kind="PersistentVolumeClaim")
    evidence = said(failed, binding, seen.last("ExternalProvisioning", kind="PersistentVolumeClaim"))
    if failed and "not found" in str(failed.get("message")):
        cause = f"The volume {name} cannot be made: there is no storage class {kind}."
        return Diagnosis("attach", "storage-class", cause, evidence, ADMINISTRATOR)
    if failed and "exceeded quota" in str(failed.get("message")):
        return Diagnosis("attach", "quota", f"The storage quota does not allow the volume {name}.", evidence,
                         "Ask an administrator for more.", capacity=True)  # fmt: skip
    if failed:
        cause = f"The volume {name} cannot be made: {_reason(str(failed.get('message')))}."
        return Diagnosis("attach", "provisioning", cause, evidence, TRIED_AGAIN)
    if binding:
        cause = f"There is no free volume for the claim {name}, and no storage class that makes one."
        return Diagnosis("attach", "storage-class", cause, evidence, ADMINISTRATOR)
    if claim is None:
        return Diagnosis("attach", "unbound", "Its home volume is not there yet.", evidence, ADMINISTRATOR)
    waited = seen.since(parse(claim["metadata"].get("creationTimestamp")))
    asked = ((claim.get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage")
    much = f" of {size(number(asked))}" if asked else ""
    cause = f"Its home volume{much} is being made, for {duration(waited)} so far."
    late = waited > 60
    remedy = "The storage does not answer: an administrator has to look." if late else ""
    return Diagnosis("attach", "provisioning", cause, evidence, remedy, wrong=late)


def not_mounted(seen: Observed) -> Diagnosis | None:
    """Why a pod that has its node has not its volumes; None where no event says so."""
    event = seen.last("FailedAttachVolume", "FailedMount")
    later = seen.last("SuccessfulAttachVolume", "Pulling", "Pulled", "Created", "FailedCreatePodSandBox")
    if event is None or (later and when(later) > when(event)):
        return _chown(seen)
    message = str(event.get("message") or "")
    if "Multi-Attach" in message:
        return _held(seen, event, message)
    evidence = said(seen.last("FailedAttachVolume"), event)
    if event.get("reason") == "FailedAttachVolume":
        cause = f"Its home volume cannot be attached to {seen.node}: {_reason(message)}."
        return Diagnosis("attach", "attach", cause, evidence, TRIED_AGAIN)
    if found := _SETUP.search(message):
        cause = f"The volume {found[1]} cannot be mounted: {_reason(found[2])}."
    elif "timed out waiting" in message or "timeout expired" in message:
        cause = f"Its volumes are not mounted on {seen.node} yet: the storage takes too long."
    else:
        cause = f"Its volumes cannot be mounted: {_reason(message)}."
    return Diagnosis("attach", "mount", cause, evidence, TRIED_AGAIN)


def _held(seen: Observed, event: Object, message: str) -> Diagnosis:
    """A ReadWriteOnce volume that is attached elsewhere."""
    users = _USED_BY.search(message)
    volume = next(iter(re.findall(r'volume "([^"]+)"', message)), "")
    elsewhere = [
        a["spec"]["nodeName"]
        for a in seen.attachments or ()
        if a["spec"].get("source", {}).get("persistentVolumeName") == volume and a["spec"]["nodeName"] != seen.node
    ]
    where = f" on {joined(elsewhere)}" if elsewhere else " on another node"
    who = f", by {users[1].strip()}" if users else ""
    cause = f"Its home volume is still in use{where}{who}."
    remedy = (
        "Stop that server."
        if users
        else "It is let go when that node says so; if it stays, an administrator has to look."
    )
    return Diagnosis("attach", "volume-in-use", cause, said(event), remedy)


def _chown(seen: Observed) -> Diagnosis | None:
    event = seen.last("VolumePermissionChangeInProgress")
    if event is None or seen.last("Pulling", "Pulled", "Created"):
        return None
    cause = "The owner of the files in its home volume is being set."
    return Diagnosis(
        "attach", "ownership", cause, said(event), "Wait: it takes longer the more files there are.", False
    )


def _reason(message: str) -> str:
    """The last and most telling part of a chain of errors."""
    last = message.strip().rpartition("desc = ")[2]
    return last.strip().rstrip(".")[:240]
