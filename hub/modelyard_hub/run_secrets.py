"""The secrets that a run is given, opened when an attempt starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelyard_api.errors import InvalidInput, NotFound
from modelyard_api.redact import GIVEN, Given, told
from modelyard_api.runs import Run
from modelyard_hub.store.secret_store import SecretStore
from modelyard_hub.vault import Vault

PREFIX = "secret."
"""Of the names of files, so that none takes the place of another of the run's files."""


class StoredSecrets:
    """Those of the store. Who may give them to a run is checked when that is submitted."""

    def __init__(self, secrets: SecretStore, vault: Callable[[], Vault]) -> None:
        self._secrets, self._vault = secrets, vault

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Variables, and files by name, among them the variable that says which values are to be hidden.

        InvalidInput for one that is not there; Unavailable for one that no key opens."""
        variables: dict[str, str] = {}
        files: dict[str, str] = {}
        given = []
        for use in run.spec.secrets:
            owner, name = use.key(run.owner)
            try:
                value = self._vault().open(owner, name, await self._secrets.sealed(owner, name))
            except NotFound as error:
                raise InvalidInput(f"there is no secret {owner}/{name}", remedy=error.remedy) from error
            file = None if use.file is None else f"{PREFIX}{use.file}"
            if file is not None:
                files[file] = value
            else:
                assert use.env is not None, "the spec was checked"
                variables[use.env] = value
            given.append(Given(name, use.env, file))
        # Always said, so that nobody else's variable of that name counts.
        return {**variables, GIVEN: told(given)}, files
