"""Memory that is freed is kept for the next request: in processes of their own, since it is for all of one."""

from __future__ import annotations

import platform

import pytest

from harness.python import python

REQUESTS = """
import resource
from modelyard_server import heap
{keep}
def one():
    parts = [bytes(256 * 1024) for _ in range(4)]
    return b"".join(parts)
for _ in range(20):
    one()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    one()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_it_is_not_taken_from_the_system_anew() -> None:
    kept, given_back = (int(python(REQUESTS.format(keep=keep))) for keep in ("heap.keep()", ""))
    assert kept < 1000 < given_back, "pages of 4 KiB, for 100 requests of a megabyte and what they are joined from"
