from __future__ import annotations

from modelyard_hub.spawner.starts.looking import Look
from modelyard_hub.spawner.starts.wide import Wide

POD = {"metadata": {"name": "notebook-ada", "uid": "u"}, "spec": {}, "status": {"phase": "Pending"}}


async def test_who_still_asks_begins_no_watch() -> None:
    wide = Wide(None)
    look = Look(None, "yard", wide, lambda: POD)
    await look.close()
    await look.diagnosis()
    assert wide.feeds == 0
