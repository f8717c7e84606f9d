from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness import api


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[api.Yard]:
    async with api.yard(tmp_path) as yard:
        yield yard
