"""What a server used at most is told to JupyterHub, when it has grown; a real server takes it, or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.web import serving
from modelyard.activity.peaks import Teller
from modelyard_api.activity import Peaks, Use

MiB = 1 << 20


@contextmanager
def hub(told: list[tuple[str, str, Peaks]], broken: list[bool]) -> Iterator[str]:
    async def put(request: Request) -> Response:
        token = request.headers["authorization"]
        told.append((request.url.path, token, Peaks.model_validate_json(await request.body())))
        return Response(status_code=503 if broken else 204)

    with serving(
        Starlette(routes=[Route("/hub/api/modelyard/peaks/{user}/{server:path}", put, methods=["PUT"])])
    ) as url:
        yield f"{url}/hub/api"


async def test_it_is_told_when_it_has_grown() -> None:
    told: list[tuple[str, str, Peaks]] = []
    broken = [True]
    with hub(told, broken) as url:
        environ = {"JUPYTERHUB_API_URL": url, "JUPYTERHUB_USER": "ada@home", "JUPYTERHUB_SERVER_NAME": "gpu",
                   "JUPYTERHUB_API_TOKEN": "secret"}  # fmt: skip
        teller = Teller(environ, quiet=0)
        await teller.tell(Use(memory_peak=100 * MiB, cpu_peak=0.5))
        assert len(told) == 1
        broken.clear()
        await teller.tell(Use(memory_peak=100 * MiB, cpu_peak=0.5))
        assert told[1] == ("/hub/api/modelyard/peaks/ada@home/gpu", "token secret", Peaks(cpu=0.5, memory=100 * MiB))
        await teller.tell(Use(memory_peak=105 * MiB, cpu_peak=0.5))
        assert len(told) == 2, "hardly more"
        await teller.tell(Use(memory_peak=105 * MiB, cpu_peak=0.5, shm_peak=1))
        assert told[-1][2].shm == 1
        assert len(told) == 3


@pytest.mark.parametrize("environ", [{}, {"JUPYTERHUB_USER": "ada"}], ids=str)
async def test_outside_of_jupyterhub_nobody_is_told(environ: dict[str, str]) -> None:
    teller = Teller(environ, quiet=0)
    await teller.tell(Use(memory_peak=100 * MiB))
    assert teller._told == Peaks()


async def test_a_start_is_left_in_peace() -> None:
    told: list[tuple[str, str, Peaks]] = []
    with hub(told, []) as url:
        await Teller({"JUPYTERHUB_API_URL": url, "JUPYTERHUB_USER": "ada"}).tell(Use(memory_peak=100 * MiB))
    assert not told
