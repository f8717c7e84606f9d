"""Volumes on the page: how large, who has them, and what can be done."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from html import escape

from modelyard_api.endpoints import Identity
from modelyard_api.errors import ModelyardError
from modelyard_api.quantities import show_bytes
from modelyard_api.volumes import Snapshot, Volume
from modelyard_hub.auth import owns

GiB = 1 << 30
FULL = 0.9
SHOWN = 200
"""Rows: an administrator sees everybody's."""


def render(
    volumes: Sequence[Volume],
    trash: Sequence[Volume],
    snapshots: Sequence[Snapshot],
    identity: Identity,
    *,
    grows: bool,
    missing: str,
    gone: Collection[str] = (),
) -> str:
    """A section of the page. `missing`: why there are no snapshots; empty where there are. `gone`: ids of those whose
    owner has no account, which come first."""
    taken: dict[str, list[Snapshot]] = {}
    for one in snapshots:
        taken.setdefault(one.volume_id, []).append(one)
    volumes = sorted(volumes, key=lambda v: v.id not in gone)
    rows = "".join(_row(v, taken.get(v.id, []), identity, grows, missing, v.id in gone) for v in volumes[:SHOWN])
    if len(volumes) > SHOWN:
        rows += f'<tr><td colspan="5">and {len(volumes) - SHOWN} more: GET /volumes lists them</td></tr>'
    heads = "".join(f"<th>{head}</th>" for head in ("Volume", "Size", "Mounted by", "Snapshots", ""))
    table = f'<table aria-label="Volumes"><tr>{heads}</tr>{rows}</table>'
    empty = '<p class="message">None yet: a home is made when its server first starts.</p>'
    note = f'<p class="message">{escape(missing)}</p>' if missing else ""
    put = f'<h3>Trash</h3><table aria-label="Trash">{"".join(map(_trashed, trash))}</table>' if trash else ""
    said = '<p class="message said" role="status"></p>'
    return f"""<h2 id="volumes">Volumes</h2><div class="cards"><article class="wide">{table if volumes else empty}
{note}{said}{put}</article></div>"""


def unknown(error: ModelyardError) -> str:
    """The section while nothing is known."""
    return f'<h2 id="volumes">Volumes</h2><div class="cards"><article>{escape(str(error))}</article></div>'


def _row(
    volume: Volume, taken: list[Snapshot], identity: Identity, grows: bool, missing: str, gone: bool = False
) -> str:
    title = f"{escape(volume.owner)}/<b>{escape(volume.name)}</b>"
    if gone:
        title += f'<br><span class="bad">Left over: there is no account named {escape(volume.owner)}</span>'
    path = f"<br><small>{escape(volume.status.path)}</small>" if volume.status.path else ""
    who = ", ".join(escape(f"{m.pod} on {m.node}" if m.node else m.pod) for m in volume.status.mounted_by) or "—"
    snapshots = _taken(volume, taken, owns(identity, volume.owner))
    return f"""<tr><td>{title}{path}</td><td>{_size(volume)}</td><td>{who}</td><td class="do">{snapshots}</td>
<td class="do">{_buttons(volume, identity, grows, missing)}</td></tr>"""


def _size(volume: Volume) -> str:
    status = volume.status
    size = show_bytes(status.size or volume.spec.size or 0) if status.size or volume.spec.size else ""
    used = ""
    if status.used is not None and status.counted_at is not None:
        used = f"{show_bytes(status.used)} used, counted {_ago(status.counted_at)}"
        if status.size and status.used > FULL * status.size:
            used = f'<span class="bad">{used}: almost full</span>'
    text = " · ".join(part for part in (size, used) if part) or ("counting" if volume.kind != "shared" else "")
    wanted = volume.spec.size or 0
    growing = f" → {show_bytes(wanted)}" if status.size and wanted > status.size else ""
    said = f"<br><small>{escape(status.message)}</small>" if status.message else ""
    for one in status.restoring:
        said += f"<br><small>{escape(f'{one.folder} from {one.snapshot}: {one.state} {one.message}'.strip())}</small>"
    return f"{text}{growing}{said}"


def _taken(volume: Volume, taken: list[Snapshot], mine: bool) -> str:
    if not taken:
        return "—"
    latest = taken[0]
    state = "" if latest.ready else f"<br><small>{escape(latest.message or 'being taken')}</small>"
    said = f"{len(taken)}, latest {_ago(latest.made_at)}{state}"
    ready = [one for one in taken if one.ready]
    if not ready or not mine:
        return said
    options = "".join(f'<option value="{escape(s.name)}">{s.made_at:%Y-%m-%d %H:%M}</option>' for s in ready)
    return f"""{said}<br><select aria-label="Snapshot of {escape(volume.name)}">{options}</select>
<button data-etag="{escape(volume.etag)}" data-do="volumes/{escape(volume.owner)}/{escape(volume.name)}/restore"
data-name="Name of the new volume that gets its files:">Restore</button>"""


def _buttons(volume: Volume, identity: Identity, grows: bool, missing: str) -> str:
    if volume.kind == "shared" or not owns(identity, volume.owner):
        return ""
    place = f"volumes/{volume.owner}/{volume.name}"
    head = f'data-etag="{escape(volume.etag)}"'
    least = -(-(volume.spec.size or 0) // GiB) + 1
    grow = f"""<input type="number" min="{least}" value="{least}" aria-label="GiB of {escape(volume.name)}"> GiB
<button {head} data-do="{escape(place)}/grow">Grow</button>"""
    snapshot = f'<button {head} data-do="{escape(place)}/snapshot">Snapshot</button>'
    trash = f"""<button {head} data-do="{escape(place)}/trash"
data-ask="Put {escape(volume.owner)}/{escape(volume.name)} into the trash?">Trash</button>"""
    held = bool(volume.status.mounted_by)
    return f"{grow if grows else ''}{snapshot if not missing else ''}{'' if held else trash}"


def _trashed(volume: Volume) -> str:
    assert volume.status.trashed is not None
    put = volume.status.trashed
    why = " · its owner's account is deleted" if put.gone else ""
    return f"""<tr><td>{escape(volume.owner)}/<b>{escape(volume.name)}</b></td>
<td>{escape(show_bytes(volume.status.size or volume.status.used or 0))}</td>
<td>kept until {put.until:%Y-%m-%d}{why}</td>
<td class="do"><button data-do="trash/{escape(volume.id)}/recover">Recover</button></td></tr>"""


def _ago(moment: datetime) -> str:
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
