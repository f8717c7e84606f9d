"""A process that has imported all that a notebook server needs, and becomes one by forking itself.

`python -m modelyard.singleuser.warm`, for a machine that runs many notebook servers: most of a start is importing,
and what is imported once is in memory once. It is told by lines of JSON on its standard input, each a server to begin
(`environ`, `arguments`, `folder`, `cores`), and answers on its standard output: `{"ready": true}`; `{"pid": …}` for
each, in order; `{"ended": pid, "status": …}` later. It ends when its input does; servers go on.

Nothing that is imported here may start a thread or an event loop: neither outlives a fork.
"""

from __future__ import annotations

import gc
import json
import os
import random
import selectors
import signal
import sys
import time
from importlib import import_module, reload
from pathlib import Path
from typing import Any

from modelyard.singleuser.listening import listen

MODULES = ("modelyard.singleuser.server",)
"""What every server imports; and each module of an extension that is enabled for all users, see `_extensions`."""


def main() -> None:
    """As a parent it serves until its input ends; as a child it is a notebook server."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a module prints is no answer
    _preload()
    told = Parent(answers).serve()
    if told is not None:
        _become(told)
        from modelyard.singleuser.server import launch

        launch(listen(), told["arguments"])


class Parent:
    """Forks, and reaps what it forked."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def serve(self) -> dict[str, Any] | None:
        """What a server is to be, in a child; None in the parent, when nobody will ask any more."""
        os.set_blocking(0, False)
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # else the collector copies every page that it looks at
        self._say(ready=True)
        rest = b""
        with selectors.DefaultSelector() as ready:
            ready.register(0, selectors.EVENT_READ)
            ready.register(read, selectors.EVENT_READ)
            while True:
                files = {key.fd for key, _ in ready.select()}
                if read in files:
                    os.read(read, 4096)
                    self._reap()
                if 0 not in files:
                    continue
                got = os.read(0, 1 << 20)
                if not got:
                    return None
                *lines, rest = (rest + got).split(b"\n")
                for line in lines:
                    if (told := self._fork(line)) is not None:
                        os.close(read)
                        os.close(write)
                        return told

    def _fork(self, line: bytes) -> dict[str, Any] | None:
        told: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid:
            self._say(pid=pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._answers.close()
        return told

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._say(ended=pid, status=os.waitstatus_to_exitcode(status))

    def _say(self, **what: Any) -> None:
        self._answers.write(json.dumps(what) + "\n")


def _become(told: dict[str, Any]) -> None:
    """What a program gets from whoever starts it: a session, an input, an environment, a folder, cores."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(told["environ"])
    time.tzset()
    random.seed()
    os.chdir(told["folder"])
    if told["cores"]:
        os.sched_setaffinity(0, told["cores"])
    sys.argv = ["modelyard.singleuser", *told["arguments"]]
    _move_in()


def _move_in() -> None:
    """What modules made of the home folder when they were imported, of this server's.

    Else all users shared JupyterLab's settings and workspaces, and a trash.
    """
    if labapp := sys.modules.get("jupyterlab.labapp"):
        lab, traits = labapp.LabApp, labapp.LabApp.class_traits()
        traits["user_settings_dir"].default_value = labapp.get_user_settings_dir()
        traits["workspaces_dir"].default_value = labapp.get_workspaces_dir()
        type(lab).setup_class(lab, dict(vars(lab)))  # it keeps copies of defaults
    if trash := sys.modules.get("send2trash.plat_other"):
        reload(trash)


def _preload() -> None:
    from jupyter_server.extension.utils import get_metadata

    for name in MODULES:
        import_module(name)
    for name in _extensions():
        try:
            get_metadata(name)  # as the server does: some import their application only then
        except Exception as error:  # the server says so when it loads the extension
            print(f"{name} is not imported beforehand: {error!r}", file=sys.stderr)  # noqa: T201


def _extensions() -> list[str]:
    """Extensions of Jupyter Server that this environment enables; users' own are theirs alone."""
    from jupyter_core.paths import ENV_CONFIG_PATH
    from jupyter_server.extension.config import ExtensionConfigManager

    folders = [str(Path(path)) for path in ENV_CONFIG_PATH]
    enabled = ExtensionConfigManager(read_config_path=folders).get_jpserver_extensions()
    return [name for name, on in enabled.items() if on]


if __name__ == "__main__":
    main()
