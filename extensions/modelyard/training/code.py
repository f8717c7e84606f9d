"""The cell that trains the same again, as text: imports, what was defined in the notebook, the call."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.training.spec import TrainSpec

FILE = "code.py"
_WIDTH = 83


def of(spec: TrainSpec, model: Any, functions: Mapping[str, Any] | None = None, *, held: bool = False) -> str:
    """The code of a training. `functions`: the user's own metrics by name; `held`: validation rows were given. The data
    are called X and y, as nobody knows what they are called in the notebook."""
    text = _said(model)  # what it does not name needs no import: a default among the parameters
    parts_of = [part for part in _classes(model) if part.__name__ in text]
    known = list(dict.fromkeys([*parts_of, *(functions or {}).values()]))
    own = [part for part in known if getattr(part, "__module__", "") == "__main__"]
    lines = ["import modelyard as yard", *_imports(known)]
    parts = ["\n".join(lines), *filter(None, map(_source, own)), _call(spec, model, functions or {}, held)]
    return "\n\n".join(parts) + "\n"


def _call(spec: TrainSpec, model: Any, functions: Mapping[str, Any], held: bool) -> str:
    given = [_text(model), "X", "y", f"name={spec.name!r}"]
    given += ["validation=(X_val, y_val)"] if held else [f"test_size={spec.test_size!r}"]
    given.append(f"seed={spec.seed!r}")
    if functions:
        named = ", ".join(f"{name!r}: {getattr(f, '__name__', repr(f))}" for name, f in functions.items())
        given.append(f"metrics={{{named}}}")
    elif spec.scorers is not None:
        given.append(f"metrics={list(spec.scorers)!r}")
    given += [f"{name}={value}" for name, value in spec.options.items()]
    verb = "search" if spec.kind == "search" else "train"
    return f"run = yard.{verb}(\n" + "".join(textwrap.indent(part, "    ") + ",\n" for part in given) + ")"


def _text(model: Any) -> str:
    """As an argument of the call: what is too long for a line, a part on each line."""
    said = _said(model)
    try:
        return _laid_out(ast.parse(said, mode="eval").body)
    except SyntaxError:  # a part that prints itself as no code
        return said


def _laid_out(node: ast.expr, indent: int = 0, before: str = "") -> str:
    line = before + ast.unparse(node)
    if indent + len(line) <= _WIDTH:
        return line
    match node:
        case ast.Call(func, args, keywords):
            named = [(f"{keyword.arg}=" if keyword.arg else "**", keyword.value) for keyword in keywords]
            begin, parts, end = f"{ast.unparse(func)}(", [*(("", arg) for arg in args), *named], ")"
        case ast.List(elements):
            begin, parts, end = "[", [("", element) for element in elements], "]"
        case ast.Tuple(elements):
            begin, parts, end = "(", [("", element) for element in elements], ")"
        case _:
            return line
    within = " " * (indent + 4)
    lines = [f"{within}{_laid_out(part, indent + 4, name)},\n" for name, part in parts]
    return f"{before}{begin}\n{''.join(lines)}{' ' * indent}{end}"


def _said(model: Any) -> str:
    if hasattr(model, "forward"):
        return "module"  # what PyTorch prints of one is no code
    try:
        return str(model.__repr__(N_CHAR_MAX=10**9))  # scikit-learn's cuts it short otherwise
    except TypeError:
        return repr(model)


def _classes(value: Any, depth: int = 6) -> Iterator[Any]:
    """The classes of an estimator and of its parts, and functions among its parameters."""
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _classes(part, depth)
    elif inspect.isfunction(value) or isinstance(value, type):
        yield value
    elif hasattr(value, "get_params"):
        yield type(value)
        if depth:
            for part in value.get_params(deep=False).values():
                yield from _classes(part, depth - 1)
    elif type(value).__module__ == "__main__" or hasattr(value, "fit") or hasattr(value, "forward"):
        yield type(value)


def _imports(known: list[Any]) -> list[str]:
    places: dict[str, list[str]] = {}
    for part in known:
        module = _public(part)
        if module not in ("__main__", "builtins"):
            places.setdefault(module, []).append(part.__name__)
    return [f"from {module} import {', '.join(sorted(set(names)))}" for module, names in sorted(places.items())]


def _public(part: Any) -> str:
    """The module that a class is imported from: not the private one that it is written in."""
    pieces = str(part.__module__).split(".")
    for end in range(1, len(pieces)):
        module = ".".join(pieces[:end])
        exported = getattr(sys.modules.get(module), part.__name__, None)
        if exported is part:
            return module
    return str(part.__module__)


def _source(part: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(part)).strip()
    except (OSError, TypeError):  # typed into a shell that keeps no source
        return ""
