"""How other programs call an endpoint: text to take along."""

from __future__ import annotations

from typing import Any

from modelyard.errors import ModelyardError
from modelyard.remote import AsyncEndpoint

_PYTHON = """import os

import httpx

answer = httpx.post(
    {url!r},
    headers={{"Authorization": f"Bearer {{os.environ['{variable}']}}"}},  # a key of this endpoint
    json={body},
)
answer.raise_for_status()
print(answer.json()["predictions"])"""


async def snippets(endpoint: AsyncEndpoint) -> dict[str, str]:
    """`curl`, with a token that works for some minutes, and what to know of it; `python`, with a key from the
    environment. The rows are those that it was published with."""
    line = await endpoint.curl()
    try:
        example = (await endpoint.example())[:1]
    except ModelyardError:  # MLflow is away: the rest is of use without
        example = []
    return {"curl": str(line), "note": line.note, "python": python(endpoint.url, endpoint.name, example)}


def python(url: str, name: str, example: list[Any]) -> str:
    """A program that asks `/invocations` with rows as JSON."""
    member = "dataframe_records" if not example or isinstance(example[0], dict) else "instances"
    variable = f"{name.replace('-', '_').upper()}_KEY"
    return _PYTHON.format(url=f"{url}/invocations", variable=variable, body=repr({member: example}))
