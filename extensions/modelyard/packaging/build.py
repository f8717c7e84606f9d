"""Build a package: read the signature, choose the flavor that answers as the original does, try it, write it down."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from modelyard.packaging import boosting, onnx, torch, transformers
from modelyard.packaging.answers import Answers, Comparison, ask, compare, observe
from modelyard.packaging.check import Original, check
from modelyard.packaging.mlmodel import (
    Source,
    save_boosted,
    save_described,
    save_plain,
    save_python,
    save_sklearn,
)
from modelyard.packaging.options import BuildOptions
from modelyard.packaging.probes import Probe, probes
from modelyard.packaging.python import Plain, is_plain, resolve
from modelyard.packaging.reference import reference_of
from modelyard.packaging.requirements import versions
from modelyard.packaging.rows import EXAMPLE_ROWS, json_rows
from modelyard.packaging.serialize import check_picklable
from modelyard.packaging.signature import check_example, inputs_of, is_table
from modelyard.packaging.sklearn import NotSkops, trusted_types
from modelyard.packaging.trial import Trial, check_outputs
from modelyard_api.errors import InvalidInput, PublishFailed, StorageFull
from modelyard_api.models import (
    MANIFEST_PATH,
    PYTHON_PATH,
    REFERENCE_PATH,
    Conversion,
    Flavor,
    PackageManifest,
    Signature,
)

_ONNX_FILE = "modelyard/model.onnx"
_TORCH_FILE = "modelyard/model.pt2"
_FAST = (Flavor.onnx, Flavor.torch)
"""Flavors with a file of their own, beside which MLflow keeps the model in its way."""


def build(
    model: Any, example: Any, *, directory: str | Path, options: BuildOptions | None = None, **overrides: Any
) -> PackageManifest:
    """Write a package of `model` into `directory` (made; must be empty) and return its manifest.

    `model`: a fitted scikit-learn estimator, one of XGBoost's or LightGBM's (a Booster too), a PyTorch module, a
    pipeline of transformers, an object with `predict(rows)`, a function of rows, or a class with `load(folder)` and
    `predict(columns)`.
    `example`: a DataFrame or an array of shape (n, …), n ≥ 1, as the model takes it. `overrides` are fields of
    `BuildOptions`; None leaves the default. With `options.trial` (the default) the package has been loaded in a fresh
    process when this returns. Raises InvalidInput (the example, the model), PublishFailed (no flavor answers as the
    model does, or the trial failed), StorageFull; nothing is left in `directory` then.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    chosen = replace(options or BuildOptions(), **given)
    target = Path(directory)
    if target.exists() and any(target.iterdir()):
        raise InvalidInput(f"{target} is not empty", remedy="Give a new directory.")
    try:
        (target / MANIFEST_PATH).parent.mkdir(parents=True, exist_ok=True)
        return _Builder(model, example, target, chosen).run()
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if _is_full(error):
            raise StorageFull(f"no space left to write the package in {target}") from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind an error; libraries wrap it in errors of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True)
class _Candidate:
    """A flavor that wrote its file: where, what skops has to trust, the conversion's record."""

    flavor: Flavor
    path: str
    conversion: Conversion
    trusted: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)


_TOLD = (
    *("modelyard", "scikit-learn", "torch", "numpy", "pandas", "skl2onnx", "onnxscript", "skops", "mlflow-skinny"),
    *("xgboost", "xgboost-cpu", "lightgbm", "transformers"),
)


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidInput(f"files={str(path)!r} is no folder", remedy="Name the folder that load(folder) reads.")
    return folder


class _Refused(Exception):
    """A flavor that cannot serve this model; the text says why."""


@dataclass
class _Builder:
    model: Any
    example: Any
    directory: Path
    options: BuildOptions
    conversions: list[Conversion] = field(default_factory=list)
    _trusted: tuple[str, ...] | NotSkops | None = None
    _is_module: bool = False

    def run(self) -> PackageManifest:
        """The whole build; see `build`."""
        self._is_module = torch.is_module(self.model)
        if self._is_module:
            self.model = torch.adopt(self.model)
        elif transformers.is_pipeline(self.model):
            self.model = transformers.adopt(self.model)
        else:
            self.model = boosting.adopt(resolve(self.model))
        self.example = check_example(self.example)
        self._read()
        candidate = self._choose()
        self._write(candidate)
        self._refer()
        expected = self._expected()
        if not self.options.trial:
            self._save_mlflow(candidate)
            return self._write(candidate, final=True)
        if candidate.flavor not in _FAST:
            self._save_mlflow(candidate)
        self.options.progress("trial", "loading the package in a fresh process")
        with Trial(self.directory) as trial:
            if candidate.flavor in _FAST:  # it needs nothing of MLflow's: both at once
                self._save_mlflow(candidate)
            outputs = trial.outputs(self.options.trial_timeout)
        if expected is not None:
            check_outputs(outputs, expected, self.options.tolerance)
        return self._write(candidate, final=True)

    def _read(self) -> None:
        given = self.options.signature
        inputs = given.inputs if given else inputs_of(self.example, self.options.training)
        layout: Literal["table", "tensor"] = "table" if is_table(self.example) else "tensor"
        if is_plain(self.model) and not self._is_module:
            check_picklable(self.model)
            files = None if self.options.files is None else _folder(self.options.files)
            self.model = Plain(self.model, files, Signature(layout=layout, inputs=inputs, outputs=()))
        elif self.options.files is not None:
            raise InvalidInput("files= is for a class with load(folder) and predict(columns)", remedy="Leave it out.")
        contract, _ = observe(self.model, self.example)
        self.signature = Signature(layout=layout, inputs=inputs, outputs=contract.outputs)
        self.contract = contract
        self.original = Original(self.model, self.signature, contract)
        self.source = Source(
            self.model, self.example, self.signature, self.options.requirements, tuple(self.options.code_paths)
        )
        self.probes: list[Probe] = probes(self.example, self.options.training, inputs)
        self.options.progress("signature", f"{contract.task}, {len(inputs)} input{'s' * (len(inputs) != 1)}")

    def _refer(self) -> None:
        """What the training rows were like, where they are given."""
        told = reference_of(self.options.training, self.signature)
        if told is not None:
            (self.directory / REFERENCE_PATH).write_text(told.model_dump_json() + "\n")

    def _makers(self) -> dict[Flavor, Callable[[], _Candidate]]:
        """What may become of such a model."""
        if isinstance(self.model, transformers.Published):
            return {Flavor.transformers: self._transformers}
        if isinstance(self.model, boosting.Boosted):
            return {self.model.flavor: self._native}
        makers: dict[Flavor, Callable[[], _Candidate]] = {Flavor.onnx: self._onnx, Flavor.pyfunc: self._pyfunc}
        if isinstance(self.model, Plain):
            makers = {Flavor.python: self._plain}
        makers |= {Flavor.torch: self._torch} if self._is_module else {Flavor.skops: self._skops}
        if (boosted := boosting.flavor_of(self.model)) is not None:
            makers[boosted] = self._native
        return makers

    def _choose(self) -> _Candidate:
        makers = self._makers()
        for flavor in self.options.flavors:
            if flavor not in makers:
                continue
            self.options.progress("convert", f"trying {flavor}")
            try:
                candidate = makers[flavor]()
            except _Refused as refused:
                self.conversions.append(Conversion(flavor=flavor, accepted=False, reason=str(refused)))
                self.options.progress("convert", f"not {flavor}: {refused}")
                continue
            self.conversions.append(candidate.conversion)
            return candidate
        said = "; ".join(f"{c.flavor}: {c.reason}" for c in self.conversions)
        raise PublishFailed(
            f"no flavor answers as the model does ({said})", remedy="Allow more flavors, or read the reasons given."
        )

    def _onnx(self) -> _Candidate:
        reason = ""
        try:
            for graph in self._graphs():
                (self.directory / _ONNX_FILE).write_bytes(graph.content)
                candidate = self._candidate(Flavor.onnx, _ONNX_FILE)
                result = self._check(candidate, self.probes)
                if not result.problem:
                    return replace(
                        candidate, conversion=self._accepted(Flavor.onnx, result, f"inputs in {graph.precision}")
                    )
                reason = reason or result.problem
        except onnx.NotConvertible as error:
            reason = reason or str(error)
        (self.directory / _ONNX_FILE).unlink(missing_ok=True)
        raise _Refused(reason)

    def _graphs(self) -> Iterator[onnx.Graph]:
        if self._is_module:
            return torch.graphs(self.model, self.example, self.signature, self.contract)
        return onnx.convert(self.model, self.signature, self.contract)

    def _torch(self) -> _Candidate:
        try:
            (self.directory / _TORCH_FILE).write_bytes(torch.program_file(self.model, self.example))
        except onnx.NotConvertible as error:
            raise _Refused(str(error)) from error
        candidate = self._candidate(Flavor.torch, _TORCH_FILE)
        result = self._check(candidate, self.probes)
        if result.problem:
            (self.directory / _TORCH_FILE).unlink()
            raise _Refused(result.problem)
        return replace(candidate, conversion=self._accepted(Flavor.torch, result))

    def _native(self) -> _Candidate:
        try:
            found = boosting.native(self.model, self.signature, self.contract)
        except boosting.NotNative as error:
            raise _Refused(str(error)) from error
        path = save_boosted(self.source, found, self.directory)
        candidate = replace(self._candidate(found.flavor, path), parameters=found.parameters)
        result = self._check(candidate, self.probes)
        if result.problem:
            self._clear()
            raise _Refused(result.problem)
        return replace(candidate, conversion=self._accepted(found.flavor, result))

    def _transformers(self) -> _Candidate:
        try:
            parameters = transformers.save(self.model, self.directory)
        except transformers.NotKept as error:
            self._clear()
            raise _Refused(str(error)) from error
        candidate = replace(self._candidate(Flavor.transformers, transformers.FOLDER), parameters=parameters)
        save_described(self.source, candidate.flavor, self.directory)
        return self._confirmed(candidate)

    def _skops(self) -> _Candidate:
        if self.options.code_paths:
            raise _Refused("the model comes with code of its own (code_paths)")
        trusted = self._skops_types()
        if isinstance(trusted, NotSkops):
            raise _Refused(str(trusted))
        path = save_sklearn(self.source, self.directory, trusted)
        candidate = replace(self._candidate(Flavor.skops, path), trusted=trusted)
        return self._confirmed(candidate)

    def _pyfunc(self) -> _Candidate:
        check_picklable(self.model)
        if hasattr(self.model, "__sklearn_tags__"):
            path = save_sklearn(self.source, self.directory, None)
        else:
            path = save_python(self.source, self.directory)
        return self._confirmed(self._candidate(Flavor.pyfunc, path))

    def _plain(self) -> _Candidate:
        save_plain(replace(self.source, model=self.model.model), self.model.files, self.directory)
        (self.directory / PYTHON_PATH).parent.mkdir(exist_ok=True)
        (self.directory / PYTHON_PATH).write_bytes(self.model.content)
        return self._confirmed(self._candidate(Flavor.python, PYTHON_PATH))

    def _confirmed(self, candidate: _Candidate) -> _Candidate:
        """`candidate` when it answers given rows as the original does, else its files are taken away again."""
        result = self._check(candidate, [p for p in self.probes if not p.made])
        if result.problem and self._steady():
            self._clear()
            raise _Refused(result.problem)
        return replace(candidate, conversion=self._accepted(candidate.flavor, result))

    def _save_mlflow(self, candidate: _Candidate) -> None:
        """MLflow's files, where the flavor did not write them already."""
        if candidate.flavor not in _FAST:
            return
        self.options.progress("mlflow", "writing the MLflow model")
        trusted = self._skops_types()
        if isinstance(trusted, NotSkops):
            check_picklable(self.model)
            save_sklearn(self.source, self.directory, None)
        else:
            save_sklearn(self.source, self.directory, trusted)

    def _skops_types(self) -> tuple[str, ...] | NotSkops:
        if self._trusted is None:
            try:
                self._trusted = trusted_types(self.model)
            except NotSkops as error:
                self._trusted = error
        return self._trusted

    def _check(self, candidate: _Candidate, asked: list[Probe]) -> Comparison:
        self._write(candidate)
        return check(self.directory, self.original, asked, self.options.tolerance)

    def _steady(self) -> bool:
        """Whether the original answers the example the same way twice; a model that draws lots cannot be compared."""
        return self._expected() is not None

    def _expected(self) -> Answers | None:
        rows = self.example.iloc[:EXAMPLE_ROWS] if is_table(self.example) else self.example[:EXAMPLE_ROWS]
        first = ask(self.model, rows, self.contract)
        again = ask(self.model, rows, self.contract)
        return None if compare(first, again, self.options.tolerance).problem else first

    def _clear(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / MANIFEST_PATH).parent.mkdir(parents=True)

    def _candidate(self, flavor: Flavor, path: str) -> _Candidate:
        return _Candidate(flavor, path, Conversion(flavor=flavor, accepted=False))

    def _accepted(self, flavor: Flavor, result: Comparison, reason: str = "") -> Conversion:
        return Conversion(
            flavor=flavor,
            accepted=True,
            reason=reason,
            max_abs_difference=result.difference,
            tolerance=self.options.tolerance,
        )

    def _write(self, candidate: _Candidate, final: bool = False) -> PackageManifest:
        manifest = PackageManifest(
            flavor=candidate.flavor,
            path=candidate.path,
            task=self.contract.task,
            classes=self.contract.classes,
            signature=self.signature,
            example=json_rows(self.example, self.signature.inputs),
            conversions=tuple(self.conversions),
            trusted=candidate.trusted,
            parameters=candidate.parameters,
            size_bytes=sum(f.stat().st_size for f in self.directory.rglob("*") if f.is_file()) if final else 0,
            created_with=versions(*_TOLD),
        )
        (self.directory / MANIFEST_PATH).write_text(manifest.model_dump_json(indent=2) + "\n")
        return manifest
