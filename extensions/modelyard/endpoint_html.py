"""An endpoint as HTML in the colours of JupyterLab's theme. Pure."""

from __future__ import annotations

from html import escape

from modelyard_api.conditions import find
from modelyard_api.endpoints import Endpoint

_CELL = "padding:2px 12px 2px 0;text-align:left"
_BOX = (
    "border:1px solid var(--jp-border-color1,#ccc);padding:8px 12px;display:inline-block;"
    "color:var(--jp-content-font-color1,inherit);background:var(--jp-layout-color1,transparent)"
)


def html(endpoint: Endpoint, url: str) -> str:
    """Name, state with its reason, URL, and a table of the revisions that run or have traffic."""
    ready = find(endpoint.status.conditions, "Ready")
    good = endpoint.status.ready
    colour = "var(--jp-success-color1,#2e7d32)" if good else "var(--jp-warn-color1,#b26a00)"
    reason = "" if good or ready is None else f" — {ready.message}"
    state = f"{ready.reason if ready else 'Waiting'}{reason}"
    rows = []
    for spec in sorted(endpoint.spec.revisions, key=lambda r: -r.number):
        seen = next((r for r in endpoint.status.revisions if r.number == spec.number), None)
        if seen is None and not endpoint.spec.percent(spec.number):
            continue
        own = find(seen.conditions, "Ready") if seen else None
        replicas = f"{seen.ready_replicas} of {seen.desired_replicas}" if seen else "0"
        cells = (
            str(spec.number),
            f"{spec.model} {spec.version}",
            f"{seen.percent if seen else 0} %",
            replicas,
            (seen.flavor or "") if seen else "",
            own.reason if own else "",
        )
        rows.append("<tr>" + "".join(f'<td style="{_CELL}">{escape(str(c))}</td>' for c in cells) + "</tr>")
    titles = ("revision", "model", "traffic", "replicas ready", "format", "state")
    head = "".join(f'<th scope="col" style="{_CELL}">{t}</th>' for t in titles)
    name = escape(f"{endpoint.owner}/{endpoint.name}")
    return (
        f'<div style="{_BOX}"><strong>{name}</strong> <span style="color:{colour}">● {escape(state)}</span>'
        f'<br><a href="{escape(url, quote=True)}/v2/models/{escape(endpoint.name)}"><code>{escape(url)}</code></a>'
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        "</div>"
    )
