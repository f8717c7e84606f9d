"""The try-it page: a form in a browser that makes real calls of the endpoint.

It is the same for all endpoints and holds nothing of one, so that it needs no key; what it shows (the signature, the
example), it fetches as any caller does, with the key that is typed into it.

The policy of its content stands in the document, because the router says one of its own for all that model servers
answer, in which a page has neither the hub's origin nor its cookies; both hold."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files

from modelyard_server.body import takes_gzip, zip_small
from modelyard_server.web.messages import Answer, Request

PATH = "/"
_HTML = b"text/html; charset=utf-8"
_DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Try it · Modelyard</title><link rel="icon" href="data:,">
<style>{style}</style></head><body><div id="page"><noscript><p>This page needs JavaScript. What the endpoint takes is in
openapi.json, below its address.</p></noscript></div><script>{script}</script></body></html>
"""


def answer(request: Request) -> Answer:
    """The page."""
    plain, packed = _made()
    zipped = takes_gzip(request.header(b"accept-encoding"))
    headers = (
        (b"content-security-policy", b"frame-ancestors 'none'"),  # of which a document cannot speak itself
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
        (b"vary", b"accept-encoding"),
        # Notebook servers have the same origin: a page of theirs that opens this one must not read the key in it.
        (b"cross-origin-opener-policy", b"noopener-allow-popups"),
    )
    return Answer(200, packed if zipped else plain, _HTML, headers + ((b"content-encoding", b"gzip"),) * zipped)


@functools.cache
def _made() -> tuple[bytes, bytes]:
    """The document, also with gzip. Its policy: nothing but its own script and style, and calls to where it is."""
    static = files("modelyard_server").joinpath("static")
    script, style = (static.joinpath(f"tryit.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    document = _DOCUMENT.format(policy=policy, style=style, script=script).encode()
    return document, zip_small(document)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
