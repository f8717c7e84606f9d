"""A package on this machine: where it is, or fetched into the workload's folder by the init step that pods use too."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from modelyard_api.errors import Unavailable
from modelyard_api.locations import parse_s3
from modelyard_hub.runtimes.base import Package
from modelyard_hub.runtimes.local.state import WorkloadFolder

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE",
              "SSL_CERT_DIR")  # fmt: skip


async def local_package(package: Package, folder: WorkloadFolder, fetch: Sequence[str]) -> Path:
    """The package's folder. One in S3 is fetched first, once for all replicas; `fetch` is the command for it.

    Raises Unavailable with the fetching's own words. Cancelled, it ends what it started.
    """
    if parse_s3(package.location) is None:
        return Path(package.location)
    # Not `package` alone: a workload that is given another version keeps both until it is removed.
    target = folder.path / f"package-{hashlib.sha256(package.location.encode()).hexdigest()[:16]}"
    if target.is_dir():
        return target
    # The keys of the store are for this process; the model server, which runs the owner's code, does not get them.
    environment = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith("AWS_")}
    process = await asyncio.create_subprocess_exec(
        *fetch,
        package.location,
        str(target),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise Unavailable(f"the package could not be fetched: {lines[-1]}")
    return target
