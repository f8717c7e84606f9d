"""The page that an endpoint shows to a browser: whole in one document, the same for all, closed to all else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

from harness.model_server import serving
from harness.packages import write_onnx
from modelyard_api.access import Access
from modelyard_server import page
from modelyard_server.web.messages import Request


def test_anybody_gets_it_and_it_holds_nothing_of_the_endpoint(tmp_path: Path) -> None:
    write_onnx(tmp_path / "package")
    (tmp_path / "access.json").write_text(Access(owner="ada").model_dump_json())
    with serving(tmp_path / "package", access=tmp_path / "access.json") as (client, _):
        found = client.get("/").raise_for_status()
        assert found.headers["content-type"] == "text/html; charset=utf-8"
        assert client.get("", headers={"accept-encoding": "identity"}).text == found.text
        assert client.head("/").raise_for_status().content == b""
        assert client.get("/openapi.json").status_code == 401
        assert "penguins" not in found.text
        assert client.post("/").status_code == 404


def test_its_policy_names_its_script_and_its_style_alone() -> None:
    answer = page.answer(Request(headers={b"accept-encoding": b"br"}))
    text = answer.body.decode()
    (policy,) = re.findall(
        r'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="(.*?)">', text
    )
    for kind, directive in (("script", "script-src"), ("style", "style-src")):
        inside = re.findall(rf"<{kind}[^>]*>(.*?)</{kind}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.findall(r"<[^>]+ (?:src|on\w+)=", text.partition("<script>")[0])


def test_nobody_frames_it_and_nothing_is_guessed_or_told_on() -> None:
    headers = dict(page.answer(Request()).headers)
    assert headers[b"content-security-policy"] == b"frame-ancestors 'none'"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"


def test_it_is_small() -> None:
    answer = page.answer(Request(headers={b"accept-encoding": b"gzip, br"}))
    assert (b"content-encoding", b"gzip") in answer.headers
    assert gzip.decompress(answer.body) == page.answer(Request()).body
    assert len(answer.body) < 16_000
