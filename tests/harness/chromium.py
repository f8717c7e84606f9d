"""Chromium for the tests: the system's own, driven by playwright; every request to another host fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Request, sync_playwright

SCREENSHOTS = Path(__file__).parents[1] / "browser" / "screenshots"
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str:
    """Path of Chromium: MODELYARD_TEST_CHROMIUM, else the one on the PATH. Never skipped silently."""
    found = os.environ.get("MODELYARD_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise RuntimeError("no Chromium: install Debian's 'chromium' or set MODELYARD_TEST_CHROMIUM")
    return found


@contextmanager
def browser(base_url: str) -> Iterator[BrowserContext]:
    """A fresh profile at `base_url`; AssertionError at the end when a page asked another host for something."""
    foreign: list[str] = []
    home = urlsplit(base_url).hostname

    def watch(request: Request) -> None:
        host = urlsplit(request.url).hostname
        if host is not None and host != home:
            foreign.append(request.url)

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable(), args=list(_FLAGS))
        context = chromium.new_context(base_url=base_url, viewport={"width": 1360, "height": 900})
        context.on("request", watch)
        try:
            yield context
        except BaseException:
            for number, page in enumerate(context.pages):
                page.screenshot(path=SCREENSHOTS / f"failed-{number}.png")
            raise
        finally:
            context.close()
            chromium.close()
    assert not foreign, f"requests to other hosts: {foreign}"
