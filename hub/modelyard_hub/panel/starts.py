"""How long notebook servers take to start, by phase: from JupyterHub's own metrics, for administrators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

import httpx
from prometheus_client.parser import text_string_to_metric_families

from modelyard_hub.hub_env import HubEnv

_WAITING, _STARTING = "modelyard_spawn_queue_length", "modelyard_spawn_starting"
_QUANTILES = ("0.5", "0.95", "0.99")
_WHAT = {
    "queue": "until its turn, and it is made",
    "schedule": "until it has a node",
    "attach": "volume and network",
    "pull": "image",
    "start": "until it runs",
    "ready": "until it answers",
    "route": "until it is reachable",
}


@dataclass
class Phase:
    """`count`: starts since JupyterHub's own start; `seconds` by quantile, of the latest starts."""

    count: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Starts:
    """`phases`: those that were measured, in order. `waiting`, `starting`: servers now."""

    phases: dict[str, Phase]
    waiting: int = 0
    starting: int = 0


async def read(http: httpx.AsyncClient, hub: HubEnv) -> Starts | None:
    """None where JupyterHub does not tell."""
    url = f"{hub.api_url.rstrip('/').removesuffix('/api')}/metrics"
    try:
        answer = await http.get(url, headers={"Authorization": f"token {hub.api_token}"}, timeout=5)
        return parse(answer.raise_for_status().text)
    except (httpx.HTTPError, ValueError):
        return None


def parse(text: str) -> Starts:
    """From the text of `/metrics`."""
    found: dict[str, Phase] = {}
    now = {_WAITING: 0, _STARTING: 0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "modelyard_spawn_phase_seconds_count":
                found.setdefault(sample.labels["phase"], Phase()).count = int(sample.value)
            elif sample.name == "modelyard_spawn_phase_quantile_seconds":
                phase = found.setdefault(sample.labels["phase"], Phase())
                phase.seconds[sample.labels["quantile"]] = sample.value
            elif sample.name in now:
                now[sample.name] = int(sample.value)
    phases = {name: found[name] for name in _WHAT if name in found and found[name].seconds}
    return Starts(phases, now[_WAITING], now[_STARTING])


def render(starts: Starts | None) -> str:
    """A section of the page."""
    if starts is None:
        text = '<p class="message">JupyterHub does not tell them now.</p>'
    else:
        text = f"<p>{starts.starting} start now, {starts.waiting} wait for their turn.</p>{_table(starts.phases)}"
    return f'<h2>Starts of notebook servers</h2><div class="cards"><article>{text}</article></div>'


def _table(phases: Mapping[str, Phase]) -> str:
    if not phases:
        return '<p class="message">None was started since JupyterHub started.</p>'
    heads = "".join(f"<th>{head}</th>" for head in ("Phase", "p50", "p95", "p99", "Starts"))
    rows = "".join(map(_row, phases.items()))
    return f'<table aria-label="Starts of notebook servers"><tr>{heads}</tr>{rows}</table>'


def _row(item: tuple[str, Phase]) -> str:
    name, phase = item
    cells = "".join(f"<td>{phase.seconds[q]:.1f} s</td>" if q in phase.seconds else "<td>—</td>" for q in _QUANTILES)
    return f"<tr><td>{escape(name)} <small>{escape(_WHAT[name])}</small></td>{cells}<td>{phase.count}</td></tr>"
