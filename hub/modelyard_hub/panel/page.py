"""The page as text. Pure: endpoints in, HTML out; nothing is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from modelyard_api.conditions import ConditionStatus, find
from modelyard_api.endpoints import Endpoint, Identity, RevisionStatus
from modelyard_api.names import serve_path
from modelyard_hub.auth import owns

_STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
_SCRIPT = files(__package__).joinpath("page.js").read_text(encoding="utf-8")


def render(
    endpoints: Sequence[Endpoint],
    identity: Identity,
    *,
    site: str,
    base: str,
    root: str,
    nonce: str,
    more: str = "",
    token: str = "",
) -> str:
    """The page. `site`: the origin that URLs begin with; `base`: JupyterHub's path; `root`: this service's.

    `more`: further sections, HTML already. `token`: what its buttons send.
    """
    cards = "".join(_card(e, identity, site) for e in endpoints) or _EMPTY
    groups = f" · {escape(', '.join(identity.groups))}" if identity.groups else ""
    who = f"{escape(identity.username)}{' · administrator' if identity.admin else ''}{groups}"
    ready = sum(e.status.ready for e in endpoints)
    count = f"{len(endpoints)} endpoint{'' if len(endpoints) == 1 else 's'}, {ready} ready" if endpoints else ""
    links = f"""<a href="{escape(base)}hub/home">Notebooks</a><a href="{escape(base)}mlflow/">MLflow</a>
<a href="{escape(root)}/logout">Sign out</a>"""
    return document(
        "Endpoints",
        f"""<header data-token="{escape(token)}">
<h1><span class="mark">▟</span> Modelyard</h1><nav>{links}</nav>
<p class="who">{who}</p></header>
<main><h2>Endpoints <small>{count}</small></h2><div class="cards">{cards}</div>{more}</main>
<script nonce="{nonce}">{_SCRIPT}</script>""",
        nonce,
    )


def document(title: str, body: str, nonce: str) -> str:
    """A whole HTML document around `body`, which is HTML already."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{escape(title)} · Modelyard</title><link rel="icon" href="data:,">
<style nonce="{nonce}">{_STYLE}</style></head><body>
{body}
</body></html>
"""


def problem(title: str, detail: str, remedy: str, root: str, nonce: str) -> str:
    """A page that says what went wrong."""
    return document(
        title,
        f"""<header><h1><span class="mark">▟</span> Modelyard</h1></header>
<main><div class="cards"><article class="empty"><h3>{escape(title)}</h3><p>{escape(detail)}</p>
<p>{escape(remedy)}</p><p><a href="{escape(root)}/">Try again</a></p></article></div></main>""",
        nonce,
    )


def state(endpoint: Endpoint) -> tuple[str, str, str]:
    """(class, word, sentence) for the state of an endpoint."""
    condition = find(endpoint.status.conditions, "Ready")
    if endpoint.deleting:
        return "wait", "Deleting", condition.message if condition else ""
    if condition is None:
        return "wait", "Starting", "Nothing is observed yet."
    if condition.status is ConditionStatus.true:
        return "good", "Ready", condition.message
    bad = condition.reason in _FAILING
    return ("bad" if bad else "wait"), _words(condition.reason), condition.message


_FAILING = {"CrashLoop", "NoReplica", "Failed", "ImagePull", "StorageFull"}
_EMPTY = """<article class="empty"><h3>No endpoint yet</h3>
<p>Publish a model from a notebook:</p><pre><code>import modelyard as yard
endpoint = yard.publish(model, "churn", example=X[:5])</code></pre></article>"""


def _card(endpoint: Endpoint, identity: Identity, site: str) -> str:
    kind, word, message = state(endpoint)
    title = f"<span>{escape(endpoint.owner)}/<b>{escape(endpoint.name)}</b></span>"
    url = endpoint.status.url or f"{site}{serve_path(endpoint.owner, endpoint.name)}"
    mine = "" if endpoint.owner == identity.owner else ' <span class="shared">shared</span>'
    message = f'<p class="message">{escape(message)}</p>' if message and kind != "good" else ""
    # Who may make keys may have one here: the page to try it wants one, of people who are signed in, too.
    place = f"{escape(endpoint.owner)}/{escape(endpoint.name)}"
    key = (
        f' <span class="do"><button data-key="{place}">Key for a day</button></span>'
        if owns(identity, endpoint.owner)
        else ""
    )
    description = f'<p class="description">{escape(endpoint.spec.description)}</p>' if endpoint.spec.description else ""
    return f"""<article id="{escape(endpoint.owner)}--{escape(endpoint.name)}">
<h3>{title}{mine} <span class="state {kind}">{escape(word)}</span></h3>{description}{message}
{_traffic(endpoint)}<p class="url"><code>{escape(url)}</code>
<a href="{escape(url.rstrip("/"))}/">Try it</a>{key}</p></article>"""


def _traffic(endpoint: Endpoint) -> str:
    observed = {r.number: r for r in endpoint.status.revisions}
    shares = sorted((t for t in endpoint.spec.traffic if t.percent), key=lambda t: -t.percent)
    bars = "".join(
        f'<rect class="share s{i % 4}" x="{sum(s.percent for s in shares[:i])}" width="{t.percent}" height="4"/>'
        for i, t in enumerate(shares)
    )
    picture = f'<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
    rows = "".join(_row(endpoint, t.revision, i, observed.get(t.revision)) for i, t in enumerate(shares))
    named = {t.revision for t in shares}
    idle = [r.number for r in endpoint.spec.revisions if r.active and r.number not in named]
    rows += "".join(_row(endpoint, number, None, observed.get(number)) for number in idle)
    return f'{picture}<table aria-label="Traffic">{rows}</table>'


def _row(endpoint: Endpoint, number: int, colour: int | None, observed: RevisionStatus | None) -> str:
    revision = endpoint.spec.revision(number)
    assert revision is not None
    wanted = endpoint.spec.percent(number)
    applied = observed.percent if observed else 0
    share = f"{wanted} %" if applied == wanted else f"{applied} → {wanted} %"
    replicas = f"{observed.ready_replicas}/{observed.desired_replicas} ready" if observed else "—"
    restarts = f", {observed.restarts} restarts" if observed and observed.restarts else ""
    dot = "idle" if colour is None else f"s{colour % 4}"
    return f"""<tr><td><span class="dot {dot}"></span>revision {number}</td>
<td>{escape(revision.model)} v{escape(revision.version)}</td><td>{share}</td><td>{replicas}{restarts}</td></tr>"""


def _words(reason: str) -> str:
    """`WaitingForRoute` as 'Waiting for route'."""
    spaced = "".join(f" {c.lower()}" if c.isupper() and i else c for i, c in enumerate(reason))
    return spaced.strip()
