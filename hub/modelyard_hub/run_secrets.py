"""The secrets that a run is given, opened when an attempt starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from modelyard_api.errors import InvalidInput, NotFound, Unavailable
from modelyard_api.names import owner_name
from modelyard_api.redact import GIVEN, Given, told
from modelyard_api.runs import Run
from modelyard_hub.store.secret_store import SecretStore
from modelyard_hub.vault import Vault

PREFIX = "secret."
"""Of the names of files, so that none takes the place of another of the run's files."""


class StoredSecrets:
    """Those of the store. Whether who submitted a run may give them to it is asked for each attempt: it may have been
    long in the queue, or be a schedule's."""

    def __init__(
        self,
        secrets: SecretStore,
        vault: Callable[[], Vault],
        stands_for: Callable[[str], Awaitable[Collection[str]]],
    ) -> None:
        """`stands_for`: the owners that a user of JupyterHub stands for now, see `HubTokens.stands_for`."""
        self._secrets, self._vault, self._stands_for = secrets, vault, stands_for

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Variables, and files by name, among them the variable that says which values are to be hidden.

        InvalidInput for one that is not there, is not theirs any more, or that no key opens; Unavailable where that
        cannot be said now."""
        await self._check(run)
        variables: dict[str, str] = {}
        files: dict[str, str] = {}
        given = []
        for use in run.spec.secrets:
            owner, name = use.key(run.owner)
            try:
                sealed = await self._secrets.sealed(owner, name)
            except NotFound as error:
                raise InvalidInput(f"there is no secret {owner}/{name}", remedy=error.remedy) from error
            vault = self._vault()
            try:
                value = vault.open(owner, name, sealed)
            except Unavailable as error:  # it would be the same later
                raise InvalidInput(error.detail, remedy=error.remedy) from error
            file = None if use.file is None else f"{PREFIX}{use.file}"
            if file is not None:
                files[file] = value
            else:
                assert use.env is not None, "the spec was checked"
                variables[use.env] = value
            given.append(Given(f"{owner}/{name}", use.env, file))
        # Always said, so that nobody else's variable of that name counts.
        return {**variables, GIVEN: told(given)}, files

    async def _check(self, run: Run) -> None:
        keys = [use.key(run.owner) for use in run.spec.secrets]
        if all(owner == owner_name(run.created_by) for owner, _ in keys):
            return
        theirs = await self._stands_for(run.created_by)
        for owner, name in keys:
            if owner not in theirs:
                raise InvalidInput(
                    f"the secret {owner}/{name} is not for {run.created_by!r}, who is not in the group {owner!r} now",
                    remedy="Have a member of the group submit the run.",
                )
