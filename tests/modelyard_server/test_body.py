"""Which large bodies are read at once."""

from __future__ import annotations

import pytest

from modelyard_server.body import reads_quickly

HEAD = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}'
MB = 1024 * 1024


def test_numbers_as_they_are_in_memory_are() -> None:
    assert reads_quickly(b"%d" % len(HEAD), HEAD + b"\0" * MB)


@pytest.mark.parametrize(
    ("length", "body"),
    [
        (None, HEAD + b"\0" * MB),
        (b"%d" % len(HEAD), HEAD + b"\0" * 3 * MB),
        (b"%d" % (MB // 2), HEAD + b" " * MB),
        (b"%d" % len(HEAD), HEAD.replace(b"FP32", b"BYTES") + b"\0" * MB),
        (b"%d" % len(HEAD), HEAD.replace(b"FP32", rb"\u0042YTES") + b"\0" * MB),
        (b"-1", HEAD + b"\0" * MB),
        (b"9" * 100, HEAD + b"\0" * MB),
    ],
    ids=["JSON", "too large", "long JSON", "texts", "an escape", "no number", "a number of any length"],
)
def test_others_are_not(length: bytes | None, body: bytes) -> None:
    assert not reads_quickly(length, body)
