"""The process that servers are forked from, in the process of a test's own: what a server takes along of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FINDS = """
import os, sys
from modelyard.singleuser import warm

parent, home = os.environ["HOME"], sys.argv[1]
warm._preload()
environ = {**os.environ, "HOME": home}
warm._become({"environ": environ, "folder": home, "cores": [], "arguments": []})

from jupyterlab.labapp import LabApp
from traitlets import HasTraits

def below(kind):
    for one in kind.__subclasses__():
        yield one
        yield from below(one)

for kind in set(below(HasTraits)):
    for name, trait in kind.class_traits().items():
        if parent in repr(trait.default_value):
            print(kind, name, trait.default_value)
for module in list(sys.modules.values()):
    # Python's own: of what is imported, not of what is run.
    for name, value in vars(module).items() if module.__name__ not in ("site", "__main__") else ():
        if isinstance(value, (str, bytes, list, tuple, os.PathLike)) and parent in repr(value):
            print(module.__name__, name, value)
print(LabApp().user_settings_dir, LabApp().workspaces_dir, sys.modules["send2trash.plat_other"].HOMETRASH)
"""


def test_a_server_keeps_nothing_in_the_home_of_the_process_it_came_from(tmp_path: Path) -> None:
    parent, home = tmp_path / "parent", tmp_path / "ada"
    parent.mkdir()
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-c", FINDS, str(home)],
        env={**kept, "HOME": str(parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    jupyter = home / ".jupyter/lab"
    assert done.stdout.split() == [
        f"{jupyter}/user-settings",
        f"{jupyter}/workspaces",
        f"{home}/.local/share/Trash",
    ]
