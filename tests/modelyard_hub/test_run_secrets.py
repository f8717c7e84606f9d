"""What a run is given of the secrets that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.runs import spec
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.redact import GIVEN, given_in, values_of
from modelyard_api.runs import SecretUse
from modelyard_hub.run_secrets import StoredSecrets
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.vault import Vault, open_vault

ADA = Actor("ada")


async def in_team(user: str) -> frozenset[str]:
    return frozenset({user, "team"})


async def alone(user: str) -> frozenset[str]:
    return frozenset({user})


async def away(user: str) -> frozenset[str]:
    raise Unavailable("JupyterHub does not answer")


async def test_as_variables_and_files(tmp_path: Path) -> None:
    store, vault = Store(f"sqlite:///{tmp_path}/store.sqlite"), open_vault(None, tmp_path)
    await store.open()
    for owner, name, value in (("ada", "db", "hunter22"), ("team", "key", "PEM…"), ("ada", "run", "third-one")):
        await store.secrets.put(owner, name, vault.seal(owner, name, value), "", ADA)
    uses = [
        {"secret": "db", "env": "DB_URL"},
        {"secret": "team/key", "file": "key.pem", "env": "KEY"},
        {"secret": "run", "file": "run.json"},
    ]
    secrets = StoredSecrets(store.secrets, lambda: vault, in_team)
    run = await store.submit_run("ada", spec(secrets=uses))
    variables, files = await secrets.given(run)
    assert set(variables) == {"DB_URL", GIVEN}
    assert files == {"secret.key.pem": "PEM…", "secret.run.json": "third-one"}
    assert [(g.secret, g.env, g.file) for g in given_in(variables)] == [
        ("ada/db", "DB_URL", None),
        ("team/key", "KEY", "secret.key.pem"),
        ("ada/run", None, "secret.run.json"),
    ]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert values_of(variables, tmp_path) == ("hunter22", "PEM…", "third-one")
    none, _ = await secrets.given(await store.submit_run("ada", spec()))
    assert given_in(none) == ()

    strange = await store.submit_run("bob", spec(secrets=[{"secret": "db", "env": "DB_URL"}]))
    with pytest.raises(InvalidInput, match="no secret bob/db"):
        await secrets.given(strange)
    with pytest.raises(InvalidInput, match="none of the keys"):  # final: no later attempt would open it
        await StoredSecrets(store.secrets, lambda: Vault(["A" * 43 + "="]), in_team).given(run)
    with pytest.raises(InvalidInput, match="team/key is not for 'ada'"):
        await StoredSecrets(store.secrets, lambda: vault, alone).given(run)
    with pytest.raises(Unavailable, match="does not answer"):
        await StoredSecrets(store.secrets, lambda: vault, away).given(run)
    await store.close()


@pytest.mark.parametrize(
    "use",
    [
        {"secret": "db"},
        {"secret": "db", "env": "MODELYARD_TOKEN"},
        {"secret": "db", "env": "A-B"},
        {"secret": "db", "file": "../key"},
        {"secret": "db", "file": "k" * 201},
        {"secret": "a/b/c", "env": "A"},
        {"secret": "Not A Label", "env": "A"},
    ],
)
def test_what_cannot_be_given(use: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SecretUse.model_validate(use)
