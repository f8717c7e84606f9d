"""A server's volumes: which claims its pod has, and what becomes of them when it or its user is deleted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub.utils import exponential_backoff
from kubernetes_asyncio.client import V1Volume, V1VolumeMount
from kubernetes_asyncio.client.exceptions import ApiException
from kubespawner import KubeSpawner
from kubespawner.utils import get_k8s_model
from tornado.web import HTTPError
from traitlets import Integer, List

from modelyard_api.names import owner_name
from modelyard_api.volumes import SharedVolume, is_home
from modelyard_hub.spawner.deleting import check_nothing_runs
from modelyard_hub.spawner.starts.wide import AWAY, read
from modelyard_hub.volumes import claims, homes
from modelyard_hub.volumes.claims import Object


class HomeSpawner(KubeSpawner):  # type: ignore[misc]  # JupyterHub is untyped
    """KubeSpawner whose homes are known by what they say of themselves, not by their names, and end in the trash."""

    trash_days = Integer(30, config=True, help="Days that volumes are kept whose server or user was deleted.")
    pvc_name: str
    _pvc_exists: bool
    shared_volumes = List(config=True, help="Volumes for members of groups (`SharedVolume`).")

    def whose(self) -> homes.Whose:
        """This server, as its volumes know it."""
        account = getattr(getattr(self.user, "orm_user", None), "created", None)
        return homes.Whose(
            owner_name(self.user.name), self.name or "", account.isoformat(timespec="seconds") if account else ""
        )

    async def find_home(self) -> Object | None:
        """The claim of this server's home; None where it has none yet. Conflict: see `homes.home`."""
        remembered = self.pvc_name if self._pvc_exists else ""
        return homes.home(await self._claims(remembered), self.whose(), remembered)

    async def prepare_volumes(self) -> None:
        """Find this server's home, or make it, and its further volumes."""
        whose, remembered = self.whose(), self.pvc_name if self._pvc_exists else ""
        there = await self._claims(remembered)
        found = homes.home(there, whose, remembered)
        if found is None:
            found = await self._new_home(whose)
        else:
            await self._own(found, whose)
        self.pvc_name, self._pvc_exists = found["metadata"]["name"], True
        self._further = homes.further(there, whose)

    async def get_pod_manifest(self) -> Any:
        """KubeSpawner's pod, with the owner's further volumes and those of the user's groups."""
        pod = await super().get_pod_manifest()
        groups = {group.name for group in self.user.groups}
        shared = homes.seen((SharedVolume.model_validate(one) for one in self.shared_volumes), groups)
        for volume, mount in homes.mounts_of(getattr(self, "_further", []), shared):
            pod.spec.volumes.append(get_k8s_model(V1Volume, volume))
            pod.spec.containers[0].volume_mounts.append(get_k8s_model(V1VolumeMount, mount))
        return pod

    def get_pvc_manifest(self) -> Any:
        """KubeSpawner's, with a name of its own, and what says whose it is."""
        whose = self.whose()
        made = super().get_pvc_manifest()
        base = self._expand_user_properties(self.pvc_name_template)
        server = f"-{whose.home.removeprefix('home-')}" if whose.server else ""
        made.metadata.name = f"{base}{server}-{claims.chance()}"
        made.metadata.labels = {**made.metadata.labels, claims.OWNER: whose.owner, claims.VOLUME: whose.home}
        made.metadata.annotations = {**(made.metadata.annotations or {}), claims.USER: whose.user}
        return made

    async def delete_forever(self) -> None:
        """Put this server's home into the trash; with the default server, which goes with its user, all that the user
        had. Tried for a minute: what is left alone now would be left for ever."""
        if not self.name:
            check_nothing_runs(self.user)
        await exponential_backoff(
            self._trash,
            f"the volumes of {self.user.name} are not in the trash",
            timeout=self.k8s_api_request_retry_timeout,
        )

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refused: the home is known by its server's name, and would be another server's."""
        raise HTTPError(
            400, "A server with a home volume keeps its name. A snapshot of the home can be restored for another."
        )

    async def _trash(self) -> bool:
        """False where it has to be tried again."""
        whose, now = self.whose(), datetime.now(UTC)
        until = now + timedelta(days=self.trash_days)
        try:
            for claim in await self._claims(self.pvc_name if self._pvc_exists else ""):
                if not _goes(claim, whose):
                    continue
                held = claims.trashed(claim)
                at, kept = (held.at, held.until) if held else (now, until)
                by = held.by if held else "deleted with its " + ("server" if whose.server else "user")
                patch = claims.to_trash(claim, at, kept, by, gone=not whose.server)
                await self._patch(claim, patch)
                self.log.info("The volume %s is in the trash until %s", claim["metadata"]["name"], kept)
        except ApiException as error:
            if error.status in (403, 422):
                raise
            self.log.warning("Putting the volumes of %s into the trash: %s", self.user.name, error.reason)
            return False
        except AWAY as error:
            self.log.warning("Putting the volumes of %s into the trash: %r", self.user.name, error)
            return False
        return True

    async def _claims(self, remembered: str = "") -> list[Object]:
        """Of the owner, and the one of that name."""
        chosen = f"{claims.OWNER}={self.whose().owner}"
        calls = self.api.list_namespaced_persistent_volume_claim
        found: list[Object] = (await read(calls, namespace=self.namespace, label_selector=chosen))["items"]
        if remembered and all(claim["metadata"]["name"] != remembered for claim in found):
            try:
                one = self.api.read_namespaced_persistent_volume_claim
                found.append(await read(one, name=remembered, namespace=self.namespace))
            except ApiException as error:
                if error.status != 404:
                    raise
        return found

    async def _new_home(self, whose: homes.Whose) -> Object:
        manifest = self.get_pvc_manifest()
        self.log.info("Making the volume %s", manifest.metadata.name)
        made = await asyncio.wait_for(
            self.api.create_namespaced_persistent_volume_claim(self.namespace, manifest), self.k8s_api_request_timeout
        )
        found: Object = self.api.api_client.sanitize_for_serialization(made)
        return found

    async def _own(self, claim: Object, whose: homes.Whose) -> None:
        """Have a home say whose it is: one of an earlier release, or of a user who was renamed."""
        have = claim["metadata"].get("labels") or {}
        labels = {claims.OWNER: whose.owner, claims.VOLUME: whose.home}
        if {**have, **labels} == have and homes.user_of(claim) == whose.user:
            return
        await self._patch(claim, claims.merge(claim, labels=labels, annotations={claims.USER: whose.user}))

    async def _patch(self, claim: Object, patch: dict[str, Any]) -> None:
        await asyncio.wait_for(
            self.api.patch_namespaced_persistent_volume_claim(claim["metadata"]["name"], self.namespace, patch),
            self.k8s_api_request_timeout,
        )


def _goes(claim: Object, whose: homes.Whose) -> bool:
    """Whether it goes to the trash with this server, or with its user, whose are all of the owner's but the homes of an
    earlier account of the same name."""
    name = claims.name_of(claim)
    if name is None or claim["metadata"].get("deletionTimestamp"):
        return False
    trashed = claims.trashed(claim)
    if is_home(name) and homes.user_of(claim) not in ("", whose.user):
        return False
    if whose.server:
        return name == whose.home and trashed is None
    return trashed is None or not trashed.gone
