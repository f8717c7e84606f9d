"""papermill's engine, with what is told while it works."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import nbformat
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager

from modelyard.batch.report import Reporter, put

_SAVE_AFTER = 1.0
"""Seconds between an output and when it is saved."""
_CHEAP = 0.05
_SHARE = 0.1
"""Of the time, that saving may take where it is not cheap."""


class Stopped(BaseException):
    """The run is told to end."""


class Manager(NotebookExecutionManager):  # type: ignore[misc]  # papermill is untyped
    """Tells the reporter of each cell, and keeps the output notebook whole at every moment."""

    def __init__(self, notebook: Any, reporter: Reporter) -> None:
        super().__init__(notebook, output_path=None, progress_bar=False, autosave_cell_every=0)
        self._reporter = reporter
        self._next_save = 0.0
        self._timer: asyncio.TimerHandle | None = None
        code = [cell.get("cell_type") == "code" for cell in notebook.cells]
        self._numbers = [sum(code[: index + 1]) for index in range(len(code))]
        reporter.progress(cells=sum(code))

    def save(self, **_: Any) -> None:
        """Not more often than it is worth: a large notebook takes long to write."""
        if time.monotonic() >= self._next_save:
            self.save_now()

    def save_now(self) -> None:
        """In one step."""
        began = time.monotonic()
        self._reporter.keep(nbformat.writes(self.nb))
        took = time.monotonic() - began
        self._next_save = began + (0.0 if took < _CHEAP else took / _SHARE)
        self.last_save_time = self.now()

    def save_later(self) -> None:
        """What a cell that goes on has put out is saved soon, in the loop that its messages are read in."""
        if self._timer is None:
            pause = max(_SAVE_AFTER, self._next_save - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(pause, self._save_now_or_never)

    def _save_now_or_never(self) -> None:
        self._timer = None
        self.save()

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """See papermill."""
        super().cell_start(cell, cell_index, **kwargs)
        if cell.get("cell_type") == "code" and cell_index is not None:
            self._reporter.progress(cell=self._numbers[cell_index])

    def notebook_complete(self, **kwargs: Any) -> None:
        """See papermill."""
        self._next_save = 0.0
        super().notebook_complete(**kwargs)


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """Tells the reporter what cells put out, and the log too."""

    reporter: Reporter

    def process_message(self, *arguments: Any, **kwargs: Any) -> Any:
        """See nbclient."""
        output = super().process_message(*arguments, **kwargs)
        if output:
            self.nb_man.save_later()
            text = _text(output)
            if text:
                print(text, end="" if text.endswith("\n") else "\n", flush=True)  # noqa: T201
                self.reporter.progress(last_output=text.rstrip().rpartition("\n")[2])
        return output


class Engine(NBClientEngine):  # type: ignore[misc]
    """Executes with a reporter, which is one of `engine_kwargs`."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **kwargs: Any) -> Any:
        """See papermill."""
        reporter: Reporter = kwargs["reporter"]
        manager = Manager(nb, reporter)
        manager.notebook_start()
        client = Client(manager, kernel_name=kernel_name, startup_timeout=kwargs.get("start_timeout", 60), timeout=None)
        client.reporter = reporter
        kwargs["began"](client)
        try:
            client.execute()
        finally:
            manager.notebook_complete()
        return manager.nb


def write_notebook(notebook: Any, path: Path) -> None:
    """In one step, and without the values of secrets: what is read is never half of it."""
    put(path, nbformat.writes(notebook))


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return "".join(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return "".join(output.get("data", {}).get("text/plain", ""))
