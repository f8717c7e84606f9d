"""When a cron line is due, in a time zone. Pure; cronsim reads the line.

As Debian's cron: a line with plain hours and minutes is due once a day when the clocks change. A time that the change
skips is due right after it, one that comes twice only the first time. A line whose hour or minute begins with `*` goes
by the time that really passes: it skips what the clock skips, and is due in both hours of the same name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from modelyard_api.errors import InvalidInput

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = "Five fields: minute, hour, day of the month, month, day of the week, such as `30 2 * * MON-FRI`."


def check(line: str, zone: str) -> None:
    """InvalidInput for a time zone that there is not, and for a line that cannot be read or is never due."""
    place(zone)
    # A year with a 29th of February lies before every date within eight years.
    if next(due_after(line, zone, datetime.now(UTC)), None) is None:
        raise _never(line)


def words(line: str) -> str:
    """What a line that can be read says, such as "At 02:30 on Monday through Friday"."""
    return CronSim(_NAMED.get(line.strip().lower(), line), datetime.now(UTC)).explain()


def due_after(line: str, zone: str, after: datetime) -> Iterator[datetime]:
    """The times, in UTC, from after `after` on, each later than the one before."""
    text = _NAMED.get(line.strip().lower(), line)
    if len(text.split()) != 5:
        raise InvalidInput(f"spec.cron: {line!r} has {len(text.split())} fields", remedy=_FIELDS, field="cron")
    last = after.astimezone(UTC)
    try:
        times = CronSim(text, last.astimezone(place(zone)))
    except CronSimError as error:
        if str(error) == "Bad day-of-month" and _is_number(text.split()[2]):
            raise _never(line) from error
        raise InvalidInput(f"spec.cron: {line!r} cannot be read: {error}", remedy=_FIELDS, field="cron") from error
    for time in times:
        moment = time.astimezone(UTC)
        if moment > last:
            yield moment
            last = moment


def place(zone: str) -> ZoneInfo:
    """The time zone of that IANA name; InvalidInput where there is none."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {name.lower(): name for name in available_timezones()}
        ends = {name.rpartition("/")[2]: name for name in known}
        wanted = zone.lower().replace(" ", "_")
        near = difflib.get_close_matches(wanted, [*known, *ends], 1)
        meant = known[ends.get(near[0], near[0])] if near else ""
        raise InvalidInput(
            f"spec.time_zone: there is no time zone {zone!r}",
            remedy=f"Did you mean {meant!r}?" if meant else "Use an IANA name, such as 'Europe/Berlin'.",
            field="time_zone",
        ) from error


def _is_number(field: str) -> bool:
    return all(part.isdigit() and 1 <= int(part) <= 31 for part in field.replace("-", ",").split(","))


def _never(line: str) -> InvalidInput:
    said = f"spec.cron: {line!r} is never due: no month of it has that day"
    return InvalidInput(said, remedy=_FIELDS, field="cron")
