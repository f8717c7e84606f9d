"""The corpus of the fuzzer, as it is and mutated: no parser raises anything but a refusal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
TIMES = 10_000
PIECES = [
    b"",
    b"null",
    b"[",
    b"}",
    b"1e999",
    b"-",
    b'"',
    b"\\ud800",
    b",",
    b"\n",
    b"[]",
    b"NaN",
    b"1" * 30,
    b"\xff",
    b"\0",
]


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One of them, cut, joined with another, or with pieces in it that are often read wrongly."""
    raw = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0:
                raw[at : at + rng.randrange(8)] = rng.choice(PIECES)
            case 1:
                raw[at : at + 1] = rng.randbytes(1)
            case 2:
                del raw[at:]
            case 3:
                other = rng.choice(seeds)
                raw[at:] = other[rng.randrange(len(other) + 1) :]
            case 4:
                raw[at:at] = raw[at : at + rng.randrange(40)] * rng.randrange(3)
    return bytes(raw)


def test_each_parser_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once(name: str) -> None:
    for raw in corpus(name):
        TARGETS[name](raw)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    rng, seeds = random.Random(11), corpus(name)
    for _ in range(TIMES):
        raw = mutated(rng, seeds)
        try:
            TARGETS[name](raw)
        except BaseException:
            print(f"by {raw!r}")  # noqa: T201 : to be put into the corpus
            raise
