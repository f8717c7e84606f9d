"""Whom a user stands for, as a real JupyterHub says."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from harness import local_hub
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_hub.hub_tokens import HubTokens


async def test_whom_a_user_stands_for(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub") as hub, hub.client() as client:
        api = f"{hub.url}/hub/api"
        for path in ("/users/ada", "/users/root", "/groups/Data Team"):
            client.post(path).raise_for_status()
        client.post("/groups/Data Team/users", json={"users": ["ada"]}).raise_for_status()
        async with httpx.AsyncClient() as http:
            tokens = HubTokens(http, api, hub.token)
            (team,) = await tokens.stands_for("ada") - {"ada"}
            assert team.startswith("data-team--")
            assert await tokens.stands_for("root") == {"root"}
            assert len(await tokens.stands_for("service:ci")) == 1
            with pytest.raises(InvalidInput, match="no user 'eve'"):
                await tokens.stands_for("eve")
            with pytest.raises(Unavailable, match="does not tell"):
                await HubTokens(http, api, f"{hub.token}-lists").stands_for("ada")
            nowhere = HubTokens(http, "http://127.0.0.1:9", hub.token)
            with pytest.raises(Unavailable, match="does not answer"):
                await nowhere.stands_for("ada")
