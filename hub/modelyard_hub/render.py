"""A notebook as HTML, by nbconvert in a process of its own: what it is given was made by somebody's code.

`python -m modelyard_hub.render` reads a notebook from stdin and writes the page to stdout.
"""

from __future__ import annotations

import asyncio
import resource
import sys

from modelyard_api.errors import InvalidInput, TimedOut
from modelyard_api.resources import MiB

POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page's Content-Security-Policy: whatever gets through the sanitizer runs nothing, and asks nobody."""
_SECONDS = 60
_AT_ONCE = asyncio.Semaphore(2)
"""Pages in the making: each may take what `_MEMORY` says, beside the hub service."""
_TAGS = [
    *(
        "a",
        "b",
        "blockquote",
        "br",
        "caption",
        "code",
        "dd",
        "div",
        "dl",
        "dt",
        "em",
        "hr",
        "i",
        "img",
        "li",
        "ol",
        "p",
    ),
    *("pre", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    *("h1", "h2", "h3", "h4", "h5", "h6"),
]
_KINDS = ["text/html", "image/png", "image/jpeg", "text/markdown", "text/plain"]
_MEMORY = 512 * MiB
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Output notebook</title><style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 60rem; padding: 0 1rem }}
pre {{ background: #f6f8fa; overflow: auto; padding: .6rem; white-space: pre-wrap }}
table {{ border-collapse: collapse }} td, th {{ border: 1px solid #d0d7de; padding: .2rem .6rem }}
img {{ max-width: 100% }} .prompt {{ color: #57606a; font: 12px monospace }}
</style></head><body>{body}</body></html>
"""


async def to_html(notebook: bytes) -> str:
    """The page. InvalidInput for what is no notebook, TimedOut for one that takes too long."""
    async with _AT_ONCE:
        return await _rendered(notebook)


async def _rendered(notebook: bytes) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "modelyard_hub.render",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "", "LANG": "C.UTF-8", "HOME": "/nonexistent"},
    )
    try:
        page, errors = await asyncio.wait_for(process.communicate(notebook), _SECONDS)
    except TimeoutError:
        raise TimedOut("the notebook takes too long to be made a page", remedy="Get it as .ipynb.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = (errors.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise InvalidInput(f"the output is no notebook that can be shown: {last}", remedy="Get it as .ipynb.")
    return page.decode()


def main() -> None:
    """From stdin to stdout, in bounded memory and time."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    notebook = nbformat.reads(sys.stdin.read(), as_version=4)
    for cell in notebook.cells:
        if len("".join(cell.source)) > MiB:
            cell.source = cell.source[:MiB] + "\n…"
    allowed = {"SanitizeHTML": {"tags": _TAGS, "attributes": {"*": ["class", "colspan", "rowspan"], "img": ["src"]}}}
    shown = {"NbConvertBase": {"display_data_priority": _KINDS}}
    exporter = HTMLExporter(template_name="basic", sanitize_html=True, config=Config({**allowed, **shown}))
    body, _ = exporter.from_notebook_node(notebook)
    sys.stdout.write(_PAGE.format(body=body))


if __name__ == "__main__":
    main()
