"""A run's files, fetched and laid out where it runs."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

from modelyard.batch.order import Order
from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, ModelyardError, NotFound
from modelyard.snapshots import parsed
from modelyard.transport import Request

PATIENCE = 600.0
"""Seconds in which the hub service may be away, such as while it is started again."""


class Refused(Exception):
    """The run cannot be begun: `reason` is a word, the text a sentence. Whether a further attempt may: the hub service
    knows by the reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def fetch(client: AsyncClient, order: Order, folder: Path) -> Path:
    """The notebook, with the files beside it. Refused: `NoInput` where they are not kept any more, or are damaged;
    `InputUnavailable` where they are not to be had now."""
    work = order.run.spec.notebook
    assert work is not None, "the kind says so"
    try:
        answer = await client.patient(PATIENCE).send(Request("GET", f"/runs/{order.run.id}/input"))
    except NotFound as error:
        raise Refused("NoInput", f"The run's files are not kept any more: {error}") from error
    except ModelyardError as error:
        raise Refused("InputUnavailable", f"The run's files cannot be had now: {error}") from error
    try:
        unpack(answer.content, folder)
    except (InvalidInput, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Refused("NoInput", f"The run's files are damaged: {error}") from error
    path = folder / work.path
    if not path.is_file():
        raise Refused("NoInput", f"The snapshot has no file {work.path!r}.")
    return path


def unpack(content: bytes, folder: Path) -> None:
    """A snapshot's files, below the folder; InvalidInput for one that would lie elsewhere."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            target = (folder / name).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise InvalidInput(f"the snapshot has a file outside of its folder: {name!r}")
        archive.extractall(folder)


def read_notebook(path: Path) -> Any:
    """Refused where it is none."""
    try:
        return parsed(path)
    except Exception as error:  # nbformat raises whatever its parsers do
        raise Refused("InvalidNotebook", f"{path.name} is no notebook: {error}") from error


def check_kernel(notebook: Any) -> str:
    """The kernel's name; Refused where there is none of that name here."""
    from jupyter_client.kernelspec import KernelSpecManager

    name = str(notebook.metadata.get("kernelspec", {}).get("name", ""))
    known = sorted(KernelSpecManager().find_kernel_specs())
    if name not in known:
        said = f"has no kernel {name!r}" if name else "does not say which kernel it needs, and the run's image has"
        raise Refused("NoKernel", f"The run's image {said}: there are {', '.join(known) or 'none'}.")
    return name
