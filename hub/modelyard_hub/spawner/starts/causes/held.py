"""The home volume is on a node already, before there is a pod that is to have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelyard_hub.spawner.starts.causes.base import TRIED_AGAIN, Diagnosis, Object, parse
from modelyard_hub.spawner.starts.causes.words import duration, joined

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_SHARED = {"ReadWriteMany", "ReadOnlyMany"}


@dataclass(frozen=True)
class Hold:
    """A claim's volume on a node. `pods`: those on that node that mount the claim and have not ended; `nodes`: None
    where they are not known."""

    now: datetime
    claim: Object
    attachment: Object
    pods: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] | None = None

    @property
    def node(self) -> str:
        """Where the volume is."""
        return str(self.attachment["spec"]["nodeName"])

    @property
    def _node(self) -> Object | None:
        return next((n for n in self.nodes or () if n["metadata"]["name"] == self.node), None)

    @property
    def _silent(self) -> Object | None:
        """What says that the node does not answer."""
        conditions = ((self._node or {}).get("status") or {}).get("conditions") or ()
        return next((c for c in conditions if c.get("type") == "Ready" and c.get("status") != "True"), None)

    @property
    def shared_by(self) -> str:
        """The node on which a further pod can use the volume too; empty where none can."""
        gone = self.nodes is not None and self._node is None
        return "" if gone or self._silent or self._alone or not self.pods else self.node

    @property
    def _alone(self) -> bool:
        return "ReadWriteOncePod" in (self.claim["spec"].get("accessModes") or ())

    def diagnosis(self) -> Diagnosis | None:
        """What it means for a start; None where the volume is just being let go, as after each server."""
        names = joined(sorted(pod["metadata"]["name"] for pod in self.pods)) if self.pods else ""
        has = f"{names} {'have' if len(self.pods) > 1 else 'has'}"
        if self.nodes is not None and self._node is None:
            cause = f"The home volume is still attached to the node {self.node}, which is gone."
            remedy = "It is let go some minutes after that. If it stays, an administrator has to look."
            return self._told(cause, remedy)
        if silent := self._silent:
            return self._of_silent_node(silent, f"{has} it there" if names else "")
        if names and self._alone:
            cause = f"The home volume is in use on {self.node} by {names}, and may be used by one server at a time."
            return self._told(cause, "Stop that server first.")
        if names:
            cause = f"The home volume is in use on {self.node} by {names}: this server has to run there too."
            return self._told(cause, wrong=False)
        failed = ((self.attachment.get("status") or {}).get("detachError") or {}).get("message")
        if failed:
            return self._told(
                f"The home volume cannot be detached from {self.node}: {failed.strip()[:240]}.", TRIED_AGAIN
            )
        return None

    def _of_silent_node(self, silent: Object, has: str) -> Diagnosis:
        since = parse(silent.get("lastTransitionTime"))
        waited = f" for {duration(max(0.0, (self.now - since).total_seconds()))}" if since else ""
        cause = f"The home volume is attached to the node {self.node}, which has given no answer{waited}"
        taints = ((self._node or {}).get("spec") or {}).get("taints") or ()
        freed = any(taint.get("key") == OUT_OF_SERVICE for taint in taints)
        if freed or not has:
            remedy = (
                "It is being freed." if freed else "It is let go some minutes after that, or when the node is back."
            )
            return self._told(f"{cause}{f': {has}' if has else ''}.", remedy, said=str(silent.get("message") or ""))
        remedy = (
            "Try again when that node is back. If it is switched off for good, an administrator can free the volume: "
            f"kubectl taint nodes {self.node} {OUT_OF_SERVICE}=nodeshutdown:NoExecute"
        )
        # The pod there may still write: a second one, on another node, would ruin the files of both.
        return self._told(f"{cause}: {has}.", remedy, said=str(silent.get("message") or ""), final=True)

    def _told(
        self, cause: str, remedy: str = "", *, said: str = "", wrong: bool = True, final: bool = False
    ) -> Diagnosis:
        volume = self.attachment["spec"]["source"]["persistentVolumeName"]
        line = f"VolumeAttachment {self.attachment['metadata']['name']}: {volume} on {self.node}"
        evidence = (line, said) if said else (line,)
        return Diagnosis("queue", "volume-in-use", cause, evidence, remedy, wrong=wrong, final=final)


def attachment(claim: Object, attachments: Iterable[Object]) -> Object | None:
    """What says that a claim's volume is on a node; None where it is on none, or may be on several at once."""
    spec = claim.get("spec") or {}
    volume = spec.get("volumeName")
    if not volume or _SHARED & set(spec.get("accessModes") or ()):
        return None
    of_it = [a for a in attachments if (a["spec"].get("source") or {}).get("persistentVolumeName") == volume]
    return min(of_it, key=lambda a: not (a.get("status") or {}).get("attached"), default=None)


def mounting(claim: str, pods: Iterable[Object]) -> tuple[Object, ...]:
    """The pods that mount a claim and have not ended."""

    def mounts(pod: Object) -> bool:
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        return any((v.get("persistentVolumeClaim") or {}).get("claimName") == claim for v in volumes)

    return tuple(p for p in pods if mounts(p) and (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))
