"""A profile's sizes, for what is no notebook server."""

from __future__ import annotations

from modelyard.client import AsyncClient
from modelyard_api.choices import Choice, choose
from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import Catalogue
from modelyard_api.resources import MiB, Resources


async def of_replica(client: AsyncClient, profile: str, cpu: float | None, memory: int | None) -> Resources:
    """What a replica of an endpoint may use by that profile, with these instead of its defaults; `memory` in MiB.

    Raises InvalidChoice and Forbidden, which name what would be allowed.
    """
    seen = await client.profiles()
    if not seen:
        raise InvalidChoice("no profile is for you", remedy="Say cpu= and memory= instead.", field="profile")
    given = {"profile": profile, "cpu": cpu, "memory": None if memory is None else memory * MiB}
    groups = {group for one in seen for group in one.groups}  # others' are not among them
    catalogue = Catalogue(profiles=tuple(seen))
    choice = Choice.read({name: value for name, value in given.items() if value is not None})
    if (gpus := catalogue.find(profile, groups).gpus).max and not gpus.min:
        choice = choice.model_copy(update={"gpus": 0})
    sizes = choose(catalogue, choice, groups)
    if sizes.gpus:
        others = [one.name for one in seen if not one.gpus.min]
        remedy = f"Choose {' or '.join(others)}." if others else "Say cpu= and memory= instead."
        raise InvalidChoice(
            f"profile {profile!r} comes with GPUs, and model servers compute on CPUs", remedy=remedy, field="profile"
        )
    return sizes.resources
