"""Values of secrets never stay in text, however it comes."""

from __future__ import annotations

import base64
import html
import json
import random
import string
from pathlib import Path
from urllib.parse import quote

import markupsafe
import pytest

from modelyard_api.redact import GIVEN, Given, Redactor, given_in, paths_of, redact_files, told, values_of

PASSWORD = "p\"'ä <s>&s/w\\ord+1"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END KEY-----\n"


@pytest.mark.parametrize(
    "said",
    [
        PASSWORD,
        json.dumps({"url": f"postgresql://ada:{PASSWORD}@db/x"}),
        json.dumps({"url": PASSWORD}, ensure_ascii=False),
        json.dumps({"text": [json.dumps({"inner": PASSWORD})]}),
        json.dumps({"text/plain": repr(PASSWORD)}),
        f"https://x?token={quote(PASSWORD, safe='')}",
        base64.b64encode(PASSWORD.encode()).decode(),
        f"<td>{html.escape(PASSWORD)}</td>",
        f"<td>{html.escape(PASSWORD, quote=False)}</td>",
        json.dumps({"text/html": html.escape(PASSWORD)}),
        f"<td>{markupsafe.escape(PASSWORD)}</td>",
        json.dumps({"text/html": str(markupsafe.escape(PASSWORD))}),
        json.dumps({"text/html": html.escape(PASSWORD, quote=False)}, ensure_ascii=False),
    ],
)
def test_a_value_in_every_spelling(said: str) -> None:
    clean = Redactor([PASSWORD]).text(said)
    assert "[secret]" in clean
    assert "ord+1" not in clean
    assert "ord%2B1" not in clean


def test_lines_of_a_value_by_themselves() -> None:
    clean = Redactor([PEM]).text("one MIIEvQIBADANBgkqhkiG line, a short one")
    assert clean == "one [secret] line, a short one"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_a_stream_in_pieces_of_any_size(size: int) -> None:
    values = ["hunter22", "hunter22-and-more", "aaaa", "-----"]
    text = b"x hunter22 hunter22-and-more hunter2 aaaaaaaaa ---- ----- hunter22-and-mor"
    redactor = Redactor(values)
    got = b"".join(redactor.feed(text[i : i + size]) for i in range(0, len(text), size)) + redactor.flush()
    assert got == Redactor(values).redact(text)
    assert not any(v.encode() in got.replace(b"-mor", b"") for v in values[:3])


def test_a_long_value_never_gets_out_of_a_stream() -> None:
    some = random.Random(1)
    letters = string.ascii_letters + string.digits + "+/"
    value = "\n".join("".join(some.choices(letters, k=64)) for _ in range(480))
    noise = "\n".join("".join(some.choices(letters, k=64)) for _ in range(8_000)).encode()
    text = noise + b"\n" + value.encode() + b"\n" + base64.b64encode(value.encode()) + noise
    redactor = Redactor([value])
    pieces = [redactor.feed(line) for line in text.splitlines(keepends=True)]
    assert b"".join((*pieces, redactor.flush())) == noise + b"\n[secret]\n[secret]" + noise


def test_what_is_no_secret_passes_at_once() -> None:
    redactor = Redactor(["hunter22"])
    assert redactor.feed(b"line\n") == b"line\n"
    assert redactor.feed(b"hun") == b""
    assert redactor.feed(b"ger\n") == b"hunger\n"
    assert not Redactor([])
    assert Redactor([]).feed(b"hun") == b"hun"


def test_which_values_a_command_gets(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("from-file")
    given = (
        Given("db", env="A"),
        Given("gone", env="GONE"),
        Given("key", env="KEY", file="key.pem"),
        Given("x", file="x"),
    )
    environment = {GIVEN: told(given), "A": "from-env", "B": "plain"}
    assert given_in(environment) == given
    assert values_of(environment, tmp_path) == ("from-env", "from-file")
    assert paths_of(environment, tmp_path) == {"KEY": str(tmp_path / "key.pem")}
    assert values_of({}) == values_of({GIVEN: "nonsense"}) == values_of({GIVEN: '[{"a": 1}]'}) == ()


def test_files_that_are_left(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("hunter22")
    results = tmp_path / "results"
    (results / "a").mkdir(parents=True)
    (results / "a" / "out.ipynb").write_text('{"text": "hunter22"}')
    (results / "data.bin").write_bytes(b"\0hunter22")
    (results / "link").symlink_to(outside)
    assert redact_files(results, Redactor(["hunter22"])) == ["a/out.ipynb"]
    assert (results / "a" / "out.ipynb").read_text() == '{"text": "[secret]"}'
    assert outside.read_text() == "hunter22"
    assert sorted(p.name for p in results.rglob("*")) == ["a", "data.bin", "link", "out.ipynb"]
