"""The client, written once: async, over the public REST API. `modelyard.sync` is its blocking face."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelyard import config
from modelyard.errors import InvalidInput, NotFound
from modelyard.transport import Request, Transport
from modelyard_api.endpoints import CallToken, EndpointList, Identity
from modelyard_api.endpoints import Endpoint as Resource
from modelyard_api.names import check_label
from modelyard_api.profiles import Profile, ProfileList
from modelyard_api.servers import Server, ServerList, ServerSize

if TYPE_CHECKING:
    from modelyard.challenge import Rules, Verdict
    from modelyard.disks import AsyncVolume
    from modelyard.grouped import AsyncGroup, Step
    from modelyard.publishing import PublishOptions
    from modelyard.remote import AsyncEndpoint
    from modelyard.standstill import Say
    from modelyard.timetable import AsyncSchedule
    from modelyard.training.run import TrainingRun
    from modelyard.unattended import AsyncRun
    from modelyard_api.schedules import Due
    from modelyard_api.scoring import ScoreOptions
    from modelyard_api.secrets import Secret
    from modelyard_api.volumes import Volume

TOKEN_MARGIN = timedelta(seconds=60)
"""A call token is replaced this long before it expires."""
_RUN_POLL = 0.1


class AsyncClient(Transport):
    """Modelyard for `async` code; all methods raise the errors of `modelyard.errors`.

        async with AsyncClient() as yard:
            endpoint = await yard.publish(model, "churn", example=X[:5])
            await endpoint.predict(X)

    `url`, `token` and `patience`: see `Transport`.
    """

    async def me(self) -> Identity:
        """Who asks: `GET /me`, read once."""
        if "me" not in self._shared:
            self._shared["me"] = await self.get("/me", Identity)
        found: Identity = self._shared["me"]
        return found

    async def profiles(self) -> list[Profile]:
        """The sizes and kinds that the user may choose from: `GET /profiles`. The first is the default."""
        return list((await self.get("/profiles", ProfileList)).items)

    async def servers(self, owner: str | None = None) -> list[Server]:
        """The user's notebook servers, and what one waits for that is not ready: `GET /servers`. Administrators see
        everybody's that are not stopped."""
        query = {"owner": owner} if owner else None
        return list((await self.fetch(Request("GET", "/servers", query=query), ServerList)).items)

    async def server_size(self, server: str | None = None) -> ServerSize:
        """What the user's notebook server has: `GET /servers/{user}`. `server`: its name, "" the default one; None:
        this one, else the default one. Conflict where it does not run, or has no size that could change."""
        return await self.fetch(await self._server("GET", server), ServerSize)

    async def resize(
        self, cpu: float | None = None, memory: int | str | None = None, server: str | None = None
    ) -> ServerSize:
        """Give the user's notebook server so many CPUs and that memory, bytes or such as "8Gi", while it runs; what is
        left out stays. InvalidChoice: the profile does not allow it, or it uses more memory. Conflict: the cluster
        cannot do it, or has no room. `server`: see `server_size`."""
        given = {"cpu": cpu, "memory": memory}
        body = {name: value for name, value in given.items() if value is not None}
        return await self.fetch(await self._server("POST", server, "/resize", body), ServerSize)

    async def _server(self, method: str, name: str | None, what: str = "", body: Any = None) -> Request:
        server = config.server_name() if name is None else name
        user = quote((await self.me()).username, safe="")
        return Request(method, f"/servers/{user}{what}", query={"server": server} if server else None, body=body)

    async def volumes(self) -> list[AsyncVolume]:
        """The volumes that the user sees: homes, further ones, and those shared with their groups."""
        from modelyard import disks

        return await disks.volumes(self)

    async def volume(self, name: str, owner: str | None = None) -> AsyncVolume:
        """The volume of that name, by default the user's own. Also `"owner/name"`. NotFound names what there is."""
        from modelyard import disks

        return await disks.volume(self, name, owner)

    async def create_volume(self, name: str, size: int | str | None = None, server: str | None = "") -> AsyncVolume:
        """A further volume of the user's, of `size` bytes or such as "20Gi", which `server` (empty: the default one)
        has from its next start on."""
        from modelyard import disks

        return await disks.create(self, name, size, server)

    async def trash(self) -> list[Volume]:
        """The user's volumes in the trash."""
        from modelyard import disks

        return await disks.trashed(self)

    async def recover(self, volume: Volume | str, name: str | None = None) -> AsyncVolume:
        """Out of the trash, one of `trash()` or its id; `name`: by default its own, Conflict where that is taken."""
        from modelyard import disks

        return await disks.recover(self, volume, name)

    async def retrain(
        self, model: Any, name: str, holdout: tuple[Any, Any], *, rules: Rules | None = None, **fields: Any
    ) -> Verdict:
        """A new model against the one that serves; see `modelyard.sync_batch.retrain`. `fields`: those of `publish`."""
        from modelyard import challenge
        from modelyard.publishing import PublishOptions

        return await challenge.challenge(
            self, model, name, holdout, rules or challenge.Rules(), PublishOptions(**fields)
        )

    async def schedule(self, notebook: str | Path, cron: str | None = None, **fields: Any) -> AsyncSchedule:
        """A cron line that creates runs of a notebook, made or changed; see `modelyard.schedule` for the fields."""
        from modelyard import timetable

        return await timetable.schedule(self, notebook, *timetable.split(cron, fields))

    async def schedules(self, owner: str | None = None) -> list[AsyncSchedule]:
        """The schedules of the user and of their groups."""
        from modelyard import timetable

        return await timetable.schedules(self, owner)

    async def find_schedule(self, name: str, owner: str | None = None) -> AsyncSchedule:
        """The user's schedule of that name, or `"owner/name"`; NotFound."""
        from modelyard import timetable

        return await timetable.one(self, name, owner)

    async def due(self, cron: str, time_zone: str = "UTC") -> Due:
        """What a cron line says in words, and its next five times; see `modelyard.due`."""
        from modelyard import timetable

        return await timetable.due(self, cron, time_zone)

    async def sweep(self, notebook: str | Path, **fields: Any) -> AsyncGroup:
        """A run of a notebook for each point of a grid or a list; see `modelyard.sweep` for the fields."""
        from modelyard import grouped
        from modelyard.unattended import Submission

        plan = {name: fields.pop(name) for name in ("grid", "points", "parallel") if name in fields}
        return await grouped.sweep(self, notebook, grouped.SweepPlan(**plan), Submission(**fields))

    async def pipeline(self, name: str, steps: Mapping[str, Step], *, owner: str | None = None) -> AsyncGroup:
        """Runs that need each other, queued together; see `modelyard.pipeline`."""
        from modelyard import grouped

        return await grouped.pipeline(self, name, steps, owner)

    async def group(self, group_id: str) -> AsyncGroup:
        """The sweep or pipeline of that id; NotFound."""
        from modelyard import grouped

        return await grouped.group(self, group_id)

    async def groups(self, limit: int = 50) -> list[AsyncGroup]:
        """Sweeps and pipelines of the user and of their groups, newest first."""
        from modelyard import grouped

        return await grouped.groups(self, limit)

    async def secrets(self) -> list[Secret]:
        """The secrets of the user and of their groups, without values."""
        from modelyard import confidential

        return await confidential.listed(self)

    async def set_secret(self, name: str, value: str, *, owner: str | None = None, description: str = "") -> Secret:
        """Set a secret of the user's (or of `owner`, a group of theirs), or give it a new value."""
        from modelyard import confidential

        return await confidential.put(self, name, value, owner, description)

    async def delete_secret(self, name: str, owner: str | None = None) -> None:
        """Forget a secret; runs that need it fail from then on, and say so."""
        from modelyard import confidential

        await confidential.delete(self, name, owner)

    async def endpoints(self, owner: str | None = None) -> list[AsyncEndpoint]:
        """The endpoints that the user sees: their own, those of their groups, and those shared with these."""
        from modelyard.remote import AsyncEndpoint

        query = {"owner": owner} if owner else None
        found = (await self.fetch(Request("GET", "/endpoints", query=query), EndpointList)).items
        return [AsyncEndpoint(self, item.owner, item.name, item) for item in found]

    async def endpoint(self, name: str, owner: str | None = None) -> AsyncEndpoint:
        """The endpoint of that name: the user's own, else the only one they see. Also `"owner/name"`.

        Raises NotFound, which names what there is; InvalidInput when several owners have one.
        """
        from modelyard.remote import AsyncEndpoint

        owner, name = split_name(name, owner)
        if owner is not None:
            return AsyncEndpoint(self, owner, name, await self.get(f"/endpoints/{owner}/{name}", Resource))
        me = await self.me()
        seen = await self.endpoints()
        found = [e for e in seen if e.name == name]
        own = [e for e in found if e.owner == me.owner]
        if own or len(found) == 1:
            return (own or found)[0]
        if found:
            owners = ", ".join(sorted(e.owner for e in found))
            raise InvalidInput(f"several owners have an endpoint {name!r}: {owners}", remedy="Name one: owner=….")
        known = ", ".join(sorted(f"{e.owner}/{e.name}" for e in seen)) or "none"
        raise NotFound(f"there is no endpoint {name!r} that you can see", remedy=f"There are: {known}.")

    async def publish(
        self, model: Any, name: str, options: PublishOptions | None = None, say: Say | None = None, **fields: Any
    ) -> AsyncEndpoint:
        """A model in, a ready endpoint out; see `modelyard.sync.publish` for the fields."""
        from modelyard.publishing import publish

        return await publish(self, model, name, options, say, **fields)

    async def train(self, estimator: Any, X: Any, y: Any = None, **fields: Any) -> TrainingRun:
        """A training run, started and not waited for; see `modelyard.sync.train` for the fields."""
        from modelyard.training.order import start, to_train

        return await asyncio.to_thread(lambda: start(to_train(estimator, X, y, **fields)))

    async def search(self, estimator: Any, X: Any, y: Any, **fields: Any) -> TrainingRun:
        """A search of parameters, started and not waited for; see `modelyard.sync.search` for the fields."""
        from modelyard.training.order import start, to_search

        return await asyncio.to_thread(lambda: start(to_search(estimator, X, y, **fields)))

    async def submit(self, notebook: str | Path, **fields: Any) -> AsyncRun:
        """A notebook executed unattended, queued; see `modelyard.submit` for the fields."""
        from modelyard import unattended

        return await unattended.submit(self, notebook, unattended.Submission(**fields))

    async def score(
        self, model: str, data: str, output: str, *, options: ScoreOptions | None = None, shards: int = 1, **fields: Any
    ) -> AsyncRun:
        """A table scored by a registered model, queued; see `modelyard.score`. `options`: all of it that is about the
        table; `fields`: all that is about the run."""
        from modelyard import offline
        from modelyard_api.scoring import ScoreOptions

        table = offline.Table(model, data, output, options or ScoreOptions(), shards)
        return await offline.submit(self, table, offline.submission_of(fields))

    async def run(self, run_id: str) -> AsyncRun:
        """The run of that id; NotFound."""
        from modelyard import unattended

        return await unattended.run(self, run_id)

    async def runs(self, **query: Any) -> list[AsyncRun]:
        """The user's runs and those of their groups, newest first: `state`, `name`, `schedule`, `group`, `result`,
        `limit`."""
        from modelyard import unattended

        return await unattended.runs(self, **query)

    async def wait(self, run: TrainingRun) -> TrainingRun:
        """`run`, once it has succeeded; raises as `TrainingRun.wait` does. Cancelled, it leaves the run running."""
        while True:
            if (await asyncio.to_thread(lambda: run.progress)).ended is not None:
                return await asyncio.to_thread(run.wait)
            await asyncio.sleep(_RUN_POLL)

    async def call_token(self, fresh: bool = False) -> CallToken:
        """A short-lived token to call endpoints; kept until a minute before it expires, unless `fresh`."""
        known: CallToken | None = self._shared.get("call_token")
        if fresh or known is None or known.expires_at - TOKEN_MARGIN <= datetime.now(UTC):
            known = await self.fetch(Request("POST", "/tokens/call"), CallToken)
            self._shared["call_token"] = known
        return known


def split_name(name: str, owner: str | None) -> tuple[str | None, str]:
    """`"owner/name"` taken apart; InvalidName when a part is no DNS label."""
    if "/" in name:
        first, _, name = name.partition("/")
        if owner is not None and owner != first:
            raise InvalidInput(f"the name says owner {first!r}, owner= says {owner!r}", remedy="Give it once.")
        owner = first
    check_label(name, "endpoint name")
    if owner is not None:
        check_label(owner, "owner")
    return owner, name
