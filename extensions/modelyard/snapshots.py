"""A snapshot of a notebook and the files beside it that it names: what a run executes, whatever is edited meanwhile."""

from __future__ import annotations

import ast
import copy
import hashlib
import io
import logging
import subprocess
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.batch import late
from modelyard.errors import InvalidInput, TooLarge
from modelyard_api.quantities import show_bytes
from modelyard_api.resources import MiB
from modelyard_api.runs import Declared, GitState, InputFile, NotebookWork

LARGEST = 32 * MiB
"""Bytes of a snapshot, packed, where nobody says what the hub service takes."""
_PIECE = MiB // 4
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Snapshot:
    """The archive, and what a run says of it."""

    content: bytes
    work: NotebookWork


def take(path: Path, further: Iterable[str | Path] = (), limit: int = LARGEST) -> Snapshot:
    """Of a notebook; `further`: files or folders beside it that it does not name.

    `limit`: bytes of the archive. InvalidInput for what is no notebook, has no kernel, or names a file elsewhere;
    TooLarge lists what is large.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise InvalidInput(f"there is no notebook {path}", remedy="Give the path of an .ipynb file.")
    notebook = _read(path)
    kernel = str(notebook.metadata.get("kernelspec", {}).get("name", ""))
    if not kernel:
        raise InvalidInput(
            f"{path.name} does not say which kernel it needs", remedy="Choose one in JupyterLab, and save the notebook."
        )
    files = {path.name: path, **_named(notebook, path.parent), **_further(further, path.parent)}
    content, listed = _packed(files, limit)
    work = NotebookWork(
        path=path.name,
        snapshot=hashlib.sha256(content).hexdigest(),
        files=listed,
        declared=declared_by(notebook, path.name),
        kernel=kernel,
        git=_git(path.parent),
    )
    return Snapshot(content, work)


def _packed(files: dict[str, Path], limit: int) -> tuple[bytes, tuple[InputFile, ...]]:
    """The same files make the same archive, so that it has the same digest. TooLarge before it holds more."""
    listed = []
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(name, _EPOCH)
            about.compress_type = zipfile.ZIP_DEFLATED
            digest, size = hashlib.sha256(), 0
            with files[name].open("rb") as source, archive.open(about, "w", force_zip64=True) as target:
                while data := source.read(_PIECE):
                    digest.update(data)
                    size += len(data)
                    target.write(data)
                    if content.tell() > limit:
                        raise _too_large(files, limit)
            listed.append(InputFile(path=name, size=size, sha256=digest.hexdigest()))
    if content.tell() > limit:
        raise _too_large(files, limit)
    return content.getvalue(), tuple(listed)


def declared_by(notebook: Any, name: str) -> tuple[Declared, ...]:
    """The parameters of a notebook, by papermill's inspection of its cell with the tag `parameters`."""
    from papermill.inspection import _infer_parameters

    # It speaks of languages that it cannot inspect.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    asked = copy.deepcopy(notebook)
    name_language(asked)
    asked.metadata.setdefault("papermill", {})
    for cell in asked.cells:
        cell.metadata.setdefault("tags", [])
    try:
        found = _infer_parameters(asked)
    except Exception as error:  # papermill raises whatever its translators do
        raise InvalidInput(f"the parameters of {name} cannot be read: {error}") from error
    return tuple(
        Declared(
            name=one.name,
            type="" if one.inferred_type_name == "None" else one.inferred_type_name,
            default=one.default,
            help=one.help,
        )
        for one in found
    )


def name_language(notebook: Any) -> None:
    """Put in the language of its kernel where a notebook leaves it out: papermill needs to know it."""
    spec = notebook.metadata.get("kernelspec", {})
    if spec.get("language") or notebook.metadata.get("language_info", {}).get("name") or not spec:
        return
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec["language"] = KernelSpecManager().get_kernel_spec(spec["name"]).language
    except NoSuchKernel:
        spec["language"] = "python"  # such as of an image that this process is not in


def _read(path: Path) -> Any:
    try:
        return parsed(path)
    except Exception as error:  # nbformat raises whatever its parsers do
        raise InvalidInput(f"{path.name} is no notebook: {str(error).splitlines()[0]}") from None


def parsed(path: Path) -> Any:
    """A notebook, valid; cells that have no id, such as of an older Jupyter, get one. Raises what nbformat does."""
    late.import_papermill()
    import nbformat
    from nbformat.validator import normalize

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says about such cells is nobody's to do anything about
        notebook: Any = nbformat.read(path, as_version=4)
        _, notebook = normalize(notebook)
        nbformat.validate(notebook)
    return notebook


def _named(notebook: Any, folder: Path) -> dict[str, Path]:
    """Files below the notebook's folder that its cells name: modules that they import, and texts that are paths."""
    found: dict[str, Path] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for name in _names(cell.source):
                found |= _files(folder, name)
    return found


def _names(source: str) -> Iterator[str]:
    # Lines of IPython's own, such as %run, are no Python.
    lines = [line if not line.lstrip().startswith(("%", "!")) else "pass" for line in source.splitlines()]
    for line in source.splitlines():
        if line.lstrip().startswith("%run "):
            yield line.split()[1]
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 500:
            yield node.value
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in _module(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _module(node.module)


def _module(name: str) -> tuple[str, str]:
    top = name.partition(".")[0]
    return f"{top}.py", f"{top}/__init__.py"


def _files(folder: Path, name: str) -> dict[str, Path]:
    """The file of that name below the folder, the whole package where it is one's; nothing for any other text."""
    try:
        path = (folder / name).resolve()
        relative = path.relative_to(folder.resolve())
        if path.name == "__init__.py" and path.is_file():
            return _tree(path.parent, folder.resolve(), "*.py")
        return {relative.as_posix(): path} if path.is_file() and relative.parts else {}
    except (OSError, ValueError):
        return {}


def _further(further: Iterable[str | Path], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in further:
        path = (folder / name).expanduser().resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InvalidInput(
                f"{name} is not beside the notebook", remedy=f"Only what lies below {folder} goes with it."
            )
        if path.is_dir():
            found |= _tree(path, folder.resolve(), "*")
        elif path.is_file():
            found[path.relative_to(folder.resolve()).as_posix()] = path
        else:
            raise InvalidInput(f"there is no file {path}")
    return found


def _tree(path: Path, folder: Path, pattern: str) -> dict[str, Path]:
    return {
        p.relative_to(folder).as_posix(): p
        for p in sorted(path.rglob(pattern))
        if p.is_file() and "__pycache__" not in p.parts
    }


def _too_large(files: dict[str, Path], limit: int) -> TooLarge:
    largest = sorted(((p.stat().st_size, name) for name, p in files.items()), reverse=True)[:3]
    listed = ", ".join(f"{name} ({show_bytes(size)})" for size, name in largest)
    return TooLarge(
        f"the notebook and the files that it names have more than {show_bytes(limit)}, packed: {listed}",
        remedy="Read large data from a volume, a database or S3 instead.",
    )


def _git(folder: Path) -> GitState | None:
    """The commit of a work tree; None where it is none."""
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return GitState(commit=commit, dirty=bool(_ask_git(folder, "status", "--porcelain", "--", ".")))


def _ask_git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
