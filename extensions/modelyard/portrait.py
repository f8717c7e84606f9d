"""An endpoint drawn as text and as HTML. Pure. Colours are JupyterLab's, so that both themes stay readable."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from modelyard_api.conditions import Condition, ConditionStatus, find
from modelyard_api.endpoints import Endpoint, RevisionSpec

# A name of its own: the style of an output reaches the whole page, and with it the panels (`.my-panel`).
STYLE = """
.yard-card{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;color:var(--jp-ui-font-color1,inherit);
border:1px solid var(--jp-border-color2,#bdbdbd);border-radius:6px;padding:12px 14px;max-width:720px;line-height:1.45}
.yard-card .my-head{display:flex;flex-wrap:wrap;gap:8px;align-items:baseline;margin-bottom:2px}
.yard-card .my-title{font-weight:600;font-size:15px}
.yard-card .my-state{border:1px solid currentColor;border-radius:10px;padding:0 8px;font-size:12px;white-space:nowrap}
.yard-card .my-good{color:var(--jp-success-color0,#1b7f3b)}.yard-card .my-busy{color:var(--jp-warn-color0,#a35200)}
.yard-card .my-bad{color:var(--jp-error-color0,#b3261e)}
.yard-card .my-dim{color:var(--jp-ui-font-color2,#5f6368)}
.yard-card table.my-table{border-collapse:collapse;margin:8px 0 0;width:100%;font-size:13px;
color:inherit;table-layout:auto}
.yard-card table.my-table th,.yard-card table.my-table td{text-align:left;padding:3px 12px 3px 0;background:none;
border-bottom:1px solid var(--jp-border-color3,#e0e0e0);vertical-align:middle;overflow-wrap:break-word}
.yard-card table.my-table td:last-child{overflow-wrap:anywhere}
.yard-card table.my-steps td:not(:last-child){white-space:nowrap;vertical-align:top}
.yard-card table.my-steps td:last-child{width:100%;padding-right:0}
.yard-card table.my-table th{font-weight:500;color:var(--jp-ui-font-color2,#5f6368)}
.yard-card a{color:var(--jp-content-link-color,#1565c0)}
.yard-card .my-bar{display:inline-block;width:90px;height:8px;border-radius:4px;overflow:hidden;margin-right:6px;
background:var(--jp-border-color3,#e0e0e0);vertical-align:middle}
.yard-card .my-bar>span{display:block;height:100%;background:var(--jp-brand-color1,#1976d2)}
.yard-card code{font-family:var(--jp-code-font-family,monospace);font-size:12px;background:none;color:inherit}
.yard-card pre{white-space:pre-wrap;max-height:260px;overflow:auto;margin:6px 0 0;font-size:12px;
background:none;color:inherit}
""".replace("\n", "")


@dataclass(frozen=True)
class Row:
    """A revision as it is shown. `kind` of its state: good, busy or bad."""

    number: int
    version: str
    wanted: int
    applied: int
    replicas: str
    flavor: str
    state: str
    kind: str


def as_text(owner: str, name: str, url: str, resource: Endpoint | None, problem: str = "") -> str:
    """Several lines: what it is, where it is, one line per active revision."""
    title = f"Endpoint {owner}/{name}"
    if resource is None:
        return f"{title}: {problem or 'not read yet'}\n  {url}"
    lines = [f"{title}: {state(resource)[0]}", f"  {url}"]
    lines += [
        f"  revision {r.number}: version {r.version}, {_share(r)} of the traffic, {r.replicas} replicas, "
        f"{r.flavor + ', ' if r.flavor else ''}{r.state}"
        for r in rows(resource)
    ]
    return "\n".join(lines + ([f"  as last seen: {problem}"] if problem else []))


def as_html(owner: str, name: str, url: str, resource: Endpoint | None, problem: str = "") -> str:
    """A box with the state, the URL and a table of the revisions."""
    text, kind = (problem or "not read yet", "bad") if resource is None else state(resource)
    parts = [f'<style>{STYLE}</style><div class="yard-card" data-testid="modelyard-endpoint"><div class="my-head">']
    parts.append(f'<span class="my-title">{escape(f"{owner}/{name}")}</span>')
    parts.append(f'<span class="my-state my-{kind}" role="status">{escape(text)}</span></div>')
    parts.append(f"<code>{escape(url)}</code>")
    if resource is not None:
        parts.append(_table(resource))
        if problem:
            parts.append(f'<div class="my-dim">As last seen: {escape(problem)}</div>')
    return "".join(parts) + "</div>"


def _table(resource: Endpoint) -> str:
    head = "".join(f"<th>{t}</th>" for t in ("revision", "version", "traffic", "replicas", "runs as", "state"))
    lines = []
    for r in rows(resource):
        bar = f'<span class="my-bar" aria-hidden="true"><span style="width:{r.applied}%"></span></span>'
        cells = [str(r.number), escape(r.version), bar + escape(_share(r)), escape(r.replicas), escape(r.flavor)]
        cells.append(f'<span class="my-{r.kind}">{escape(r.state)}</span>')
        lines.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    hidden = len(resource.spec.revisions) - len(lines)
    more = f'<div class="my-dim">{hidden} older revisions are kept and run nothing.</div>' if hidden else ""
    return f'<table class="my-table"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>{more}'


def rows(resource: Endpoint) -> list[Row]:
    """The revisions that run, get calls, or are observed; oldest first."""
    observed = {r.number: r for r in resource.status.revisions}
    shown = [r for r in resource.spec.revisions if r.active or resource.spec.percent(r.number) or r.number in observed]
    return [_row(resource, revision) for revision in shown]


def _row(resource: Endpoint, revision: RevisionSpec) -> Row:
    status = next((r for r in resource.status.revisions if r.number == revision.number), None)
    ready = find(status.conditions, "Ready") if status is not None else None
    text, kind = _condition(ready)
    return Row(
        number=revision.number,
        version=revision.version,
        wanted=resource.spec.percent(revision.number),
        applied=status.percent if status is not None else 0,
        replicas=f"{status.ready_replicas}/{status.desired_replicas}" if status is not None else "0",
        flavor=str(status.flavor or "") if status is not None else "",
        state=text,
        kind=kind,
    )


def _share(row: Row) -> str:
    return f"{row.applied} %" if row.applied == row.wanted else f"{row.applied} % → {row.wanted} %"


def state(resource: Endpoint) -> tuple[str, str]:
    """How it is, in words, and whether that is good, busy or bad."""
    if resource.deleting:
        return "Deleting", "busy"
    if resource.status.observed_generation < resource.generation:
        return "Changing", "busy"
    return _condition(find(resource.status.conditions, "Ready"))


def _condition(condition: Condition | None) -> tuple[str, str]:
    if condition is None:
        return "Not observed yet", "busy"
    if condition.status is ConditionStatus.true:
        return "Ready", "good"
    text = f"{condition.reason}: {condition.message}" if condition.message else condition.reason
    return text, "bad" if condition.reason in ("CrashLoop", "Backoff", "NoPackage") else "busy"
