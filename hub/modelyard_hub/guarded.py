"""Work that goes on whatever happens to it: logged, and begun again, later each time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from modelyard_api.errors import ModelyardError
from modelyard_hub.backoff import Backoff

log = logging.getLogger(__name__)


async def keep_on(
    what: str, work: Callable[[], Awaitable[object]], backoff: Backoff, *, once: bool = False, every: float = 0.0
) -> None:
    """Run `work` again and again (or until it succeeds), waiting longer after each failure in a row.

    `every`: seconds between two runs at least.
    """
    failures = 0
    while True:
        try:
            await work()
            failures = 0
        except ModelyardError as error:
            failures += 1
            log.warning("%s: %s", what, error)
        except Exception:
            failures += 1
            log.exception("%s", what)
        if once and not failures:
            return
        await asyncio.sleep(max(every, backoff.delay(failures)))
