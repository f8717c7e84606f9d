"""How long notebook servers take to start, by phase: from JupyterHub's own metrics, for administrators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

import httpx
from prometheus_client.parser import text_string_to_metric_families

from modelyard_hub.hub_env import HubEnv

_QUANTILES = ("0.5", "0.95", "0.99")
_WHAT = {
    "queue": "until it is made",
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


async def read(http: httpx.AsyncClient, hub: HubEnv) -> dict[str, Phase] | None:
    """The phases that were measured, in order; None where JupyterHub does not tell."""
    url = f"{hub.api_url.rstrip('/').removesuffix('/api')}/metrics"
    try:
        answer = await http.get(url, headers={"Authorization": f"token {hub.api_token}"}, timeout=5)
        return parse(answer.raise_for_status().text)
    except (httpx.HTTPError, ValueError):
        return None


def parse(text: str) -> dict[str, Phase]:
    """From the text of `/metrics`."""
    found: dict[str, Phase] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "modelyard_spawn_phase_seconds_count":
                found.setdefault(sample.labels["phase"], Phase()).count = int(sample.value)
            elif sample.name == "modelyard_spawn_phase_quantile_seconds":
                phase = found.setdefault(sample.labels["phase"], Phase())
                phase.seconds[sample.labels["quantile"]] = sample.value
    return {name: found[name] for name in _WHAT if name in found and found[name].seconds}


def render(phases: Mapping[str, Phase] | None) -> str:
    """A section of the page."""
    if phases is None:
        text = '<p class="message">JupyterHub does not tell them now.</p>'
    elif not phases:
        text = '<p class="message">None was started since JupyterHub started.</p>'
    else:
        heads = "".join(f"<th>{head}</th>" for head in ("Phase", "p50", "p95", "p99", "Starts"))
        rows = "".join(map(_row, phases.items()))
        text = f'<table aria-label="Starts of notebook servers"><tr>{heads}</tr>{rows}</table>'
    return f'<h2>Starts of notebook servers</h2><div class="cards"><article>{text}</article></div>'


def _row(item: tuple[str, Phase]) -> str:
    name, phase = item
    cells = "".join(f"<td>{phase.seconds[q]:.1f} s</td>" if q in phase.seconds else "<td>—</td>" for q in _QUANTILES)
    return f"<tr><td>{escape(name)} <small>{escape(_WHAT[name])}</small></td>{cells}<td>{phase.count}</td></tr>"
