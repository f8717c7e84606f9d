"""What is said of a training that failed: the sentence, what would be right, the traceback."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from modelyard.errors import ModelyardError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LESS = "Take fewer rows or columns, fewer jobs (n_jobs) or a smaller model, or a server with more memory."


def told(error: BaseException) -> dict[str, str]:
    """The fields of the `ended` event that tell `error`."""
    text = "".join(traceback.format_exception(error)) if not isinstance(error, SystemExit) else ""
    if isinstance(error, ModelyardError):
        return {"error": error.detail, "remedy": error.remedy, "traceback": text}
    if isinstance(error, MemoryError):
        return {"error": f"the memory ran out: {_sentence(error)}", "remedy": _LESS, "traceback": text}
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" at {error.filename}" if error.filename else ""
        said = f"the disk is full{where}: {error.strerror}"
        return {"error": said, "remedy": "Free disk space, then train again.", "traceback": text}
    return {"error": _sentence(error), "traceback": text}


def _sentence(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception:  # its __str__ raises
        return type(error).__name__


def killed(before: int | None, now: int | None, *, by_kill: bool) -> dict[str, str]:
    """Why a process is gone that said nothing. `before` and `now`: `oom_kills()` when it began and ended; `by_kill`: it
    is known to have ended by SIGKILL."""
    if before is not None and now is not None and now > before:
        return {"error": "the memory ran out: the system killed the training process", "remedy": _LESS}
    if by_kill:
        unknown = "; probably the memory ran out" if before is None or now is None else ""
        return {"error": f"the training process was killed by SIGKILL{unknown}", "remedy": _LESS if unknown else ""}
    return {"error": "the training process is gone", "remedy": ""}


OUT_OF_RANGE = {
    "error": "a number was out of range on the GPU",
    "remedy": "A target that the module has no output for, or a whole number beyond its embedding; "
    'a training of the same rows with device="cpu" names the place.',
}


def aborted(output: str) -> dict[str, str]:
    """Why a process ended itself by SIGABRT, by what it printed: PyTorch does so when the GPU failed, whose memory
    cannot even be given back then."""
    return OUT_OF_RANGE if "device-side assert" in output else {}


def oom_kills(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Processes of this control group that the kernel killed for want of memory; None where that cannot be read."""
    try:
        lines = [line.split(":", 2) for line in proc.read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in lines:
        below = path.lstrip("/")
        if not controllers:
            found = _counter(root / below / "memory.events")
        elif "memory" in controllers.split(","):
            found = _counter(root / "memory" / below / "memory.oom_control")
        else:
            continue
        if found is not None:
            return found
    return None


def _counter(file: Path) -> int | None:
    try:
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return None
