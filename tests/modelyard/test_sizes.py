"""A profile's sizes for a replica of an endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.web import serving
from modelyard.client import AsyncClient
from modelyard.sizes import of_replica
from modelyard_api.errors import InvalidChoice
from modelyard_api.profiles import ProfileList
from modelyard_api.resources import MiB, Resources

SMALL = {
    "name": "small",
    "groups": ["research"],
    "cpu": {"min": 0.5, "default": 1, "max": 2, "step": 0.5},
    "memory": {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "1Gi"},
}
EITHER = {"name": "either", "cpu": 2, "memory": "4Gi", "gpus": {"min": 0, "default": 1, "max": 1, "step": 1}}
GPU = {"name": "gpu", "cpu": 4, "memory": "8Gi", "gpus": 1}


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """Of a hub service with these profiles."""
    found = ProfileList.model_validate({"items": [SMALL, EITHER, GPU]}).model_dump_json()

    async def profiles(request: Request) -> Response:
        return Response(found, media_type="application/json")

    app = Starlette(routes=[Route("/services/modelyard/api/v1/profiles", profiles)])
    with serving(app) as url:
        async with AsyncClient(url, "token") as made:
            yield made


async def test_a_replica_has_what_a_server_of_the_profile_would_have(client: AsyncClient) -> None:
    assert [profile.name for profile in await client.profiles()] == ["small", "either", "gpu"]
    assert await of_replica(client, "small", None, None) == Resources(cpu=1, memory=2048 * MiB)
    assert await of_replica(client, "small", 1.5, 3072) == Resources(cpu=1.5, memory=3072 * MiB)
    assert await of_replica(client, "either", None, None) == Resources(cpu=2, memory=4096 * MiB), "without its GPU"


async def test_what_is_not_allowed_is_named(client: AsyncClient) -> None:
    with pytest.raises(InvalidChoice, match=r"cpu: 8 CPUs is not what profile 'small' allows.*Choose 0.5 CPUs to 2"):
        await of_replica(client, "small", 8, None)
    with pytest.raises(InvalidChoice, match=r"no profile 'tiny'.*Choose small or either or gpu"):
        await of_replica(client, "tiny", None, None)
    with pytest.raises(InvalidChoice, match=r"comes with GPUs.*Choose small or either"):
        await of_replica(client, "gpu", None, None)
