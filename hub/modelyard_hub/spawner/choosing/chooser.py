"""Choosing a profile: the form, what a form or an API request says, and what the spawner takes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyterhub.spawner import SpawnException

from modelyard_api.bounds import show
from modelyard_api.choices import Choice, Sizes, choose
from modelyard_api.errors import Conflict, Forbidden, ModelyardError
from modelyard_api.profiles import Catalogue, Profile
from modelyard_api.servers import ResizeOrder
from modelyard_hub.spawner import servers
from modelyard_hub.spawner.choosing import page, used
from modelyard_hub.spawner.choosing.profiled import Profiled
from modelyard_hub.spawner.choosing.suggestion import suggest
from modelyard_hub.spawner.listening import when_it_listens
from modelyard_hub.spawner.rooms import own
from modelyard_hub.spawner.rooms.surroundings import Surroundings

if TYPE_CHECKING:
    from modelyard_hub.spawner.resize.resizing import Now

Look = Callable[[Any, tuple[Profile, ...]], Awaitable[Surroundings]]


class Chooser:
    """JupyterHub's hooks for one catalogue. `look`: what is around a spawner that may start these
    profiles, asked for each page."""

    def __init__(self, catalogue: Catalogue, look: Look) -> None:
        self.catalogue, self._look = catalogue, look

    def configure(self, c: Any) -> None:
        """Fill JupyterHub's config object `c`."""

        # Functions: traitlets copies the objects of methods with each spawner's configuration.
        async def form(spawner: Profiled) -> str:
            return await self.form(spawner)

        def read(form: Mapping[str, list[str]], spawner: Profiled) -> dict[str, Any]:
            return self.read(form, spawner)

        def apply(spawner: Profiled, options: Mapping[str, Any]) -> None:
            self.apply(spawner, options)

        def sizes_of(spawner: Profiled) -> Sizes | None:
            return self.sizes_of(spawner)

        def install(app: Any) -> None:
            servers.install(app, sizes_of)
            used.install(app, sizes_of)

        def again(spawner: Profiled, order: ResizeOrder, now: Now) -> tuple[Sizes, dict[str, Any]]:
            return self.again(spawner, order, now)

        c.JupyterHub.template_paths = [str(page.TEMPLATES)]
        c.Spawner.options_form = form
        c.Spawner.options_from_form = read
        c.Spawner.apply_user_options = apply
        c.Spawner.again = again
        when_it_listens(install)

    async def form(self, spawner: Profiled) -> str:
        """The form, with the last choice; empty where there is nothing to choose.

        A choice of last time that is not offered any more is forgotten.
        """
        refused, spawner.refused = spawner.refused, None
        groups = groups_of(spawner)
        seen = self.catalogue.visible(groups)
        last = refused[0] if refused else spawner.user_options
        if not refused and not self._holds(last, groups):
            spawner.forget_choice()
            last = {}
        if len(seen) < 2 and all(profile.fixed for profile in seen):
            return ""
        fits = suggest(seen, spawner.sessions)
        shown = page.Shown(seen, dict(last), refused[1] if refused else None, fits)
        around = await self._look(spawner, seen)
        mine = own.rooms(own.most(self.catalogue.quota(groups)), self._others(spawner))
        return page.render(shown, replace(around, rooms=(*mine, *around.rooms)))

    def read(self, form: Mapping[str, list[str]], spawner: Profiled) -> dict[str, Any]:
        """A form's choice as options; SpawnException, with which the form is shown again."""
        given = {name: values[0] for name, values in form.items() if values and values[0] and not name.startswith("_")}
        try:
            choice = Choice.read(given)
            self._sizes(choice, spawner)
        except ModelyardError as problem:
            # JupyterHub shows the form of the user's default server again, whichever was asked for.
            spawner.user.spawner.refused = (given, problem)
            raise refusal(problem) from None
        return choice.model_dump(exclude_none=True)

    def apply(self, spawner: Profiled, options: Mapping[str, Any]) -> None:
        """Have the spawner take the sizes. What is refused is not what the next start without options asks for."""
        try:
            spawner.take(self._sizes(Choice.read(options), spawner))
            spawner.quota = self.catalogue.quota(groups_of(spawner))
        except ModelyardError as problem:
            spawner.forget_choice(spawner.earlier)
            raise refusal(problem) from None

    def again(self, spawner: Profiled, order: ResizeOrder, now: Now) -> tuple[Sizes, dict[str, Any]]:
        """The sizes of a server that runs, with what `order` changes, and the options that ask for them. InvalidChoice:
        the profile does not allow it; Conflict: the user's other servers leave too little of the quota."""
        changed = {"cpu": order.cpu or now.cpu, "memory": order.memory or now.memory}
        options = {**spawner.user_options, **changed}
        sizes = self._sizes(Choice.read(options), spawner)
        groups = groups_of(spawner)
        before = {"cpu": now.cpu, "memory": float(now.memory)}
        for room in own.rooms(own.most(self.catalogue.quota(groups)), self._others(spawner)):
            wanted = own.takes(sizes)[room.need]
            if wanted > room.free and wanted > before.get(room.need, wanted):
                raise Conflict(
                    f"{room.need}: your quota has {show(room.need, room.free)} beside your other servers, "
                    f"asked for are {show(room.need, wanted)}",
                    remedy="Ask for less, or stop another server.",
                    field=room.need,
                )
        return sizes.model_copy(update={"shm": now.shm}), options

    def _sizes(self, choice: Choice, spawner: Profiled) -> Sizes:
        groups = groups_of(spawner)
        sizes = choose(self.catalogue, choice, groups)
        own.check(self.catalogue.quota(groups), sizes)
        return sizes

    def _others(self, spawner: Profiled) -> Iterator[dict[str, float]]:
        """What the user's other servers have. One that ran before the hub's start is of the sizes it was asked for."""
        for other in spawner.user.spawners.values():
            if other is not spawner and other.active:
                yield own.takes(self.sizes_of(other))

    def sizes_of(self, spawner: Profiled) -> Sizes | None:
        """What a server has, or asked for last; None where that is not offered any more."""
        sizes = spawner.sizes
        with suppress(ModelyardError):
            sizes = sizes or choose(self.catalogue, Choice.read(spawner.user_options), groups_of(spawner))
        return sizes

    def _holds(self, options: Mapping[str, Any], groups: set[str]) -> bool:
        try:
            choose(self.catalogue, Choice.read(options), groups)
        except ModelyardError:
            return not options
        return True


def groups_of(spawner: Profiled) -> set[str]:
    """Names of the groups that the server's user is in."""
    return {group.name for group in spawner.user.groups}


def refusal(problem: ModelyardError) -> SpawnException:
    """As JupyterHub tells it, which is no failure of its own."""
    status = 403 if isinstance(problem, Forbidden) else 400
    refused = SpawnException(str(problem), reason="profile", status_code=status)
    refused.jupyterhub_message = str(problem)  # what a page shows; without it, the exception's class too
    return refused
