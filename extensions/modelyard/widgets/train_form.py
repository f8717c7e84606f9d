"""The form of TrainPanel without its widget: what was chosen, what is wrong with it, the training it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard import networks
from modelyard.errors import InvalidInput, ModelyardError
from modelyard.training import code
from modelyard.training.options import options_of
from modelyard.training.order import Order
from modelyard.training.spec import TrainSpec
from modelyard.widgets import estimators, frames
from modelyard.widgets.estimators import CLASSIFICATION, NETWORK, REGRESSION, Estimator
from modelyard.widgets.forms import Field, fields_of, values_of
from modelyard.widgets.frames import USED, Column

GIVEN = "given"
"""Key of the estimator, and name of the frame, that the panel was made with."""
_SHOWN_COLUMNS = 200


@dataclass(frozen=True)
class Choices:
    """What the form says. `estimator`: a key of the list; `parameters` as the fields show them; `task`: empty for what
    the target says."""

    data: str = ""
    target: str = ""
    task: str = ""
    left_out: tuple[str, ...] = ()
    estimator: str = "hist_gradient_boosting"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    test_size: float = 0.2
    seed: int = 0
    cv: int = 0
    balanced: bool = False
    learning_curve: bool = False


_LAYERS = ("hidden", "dropout")
"""Parameters of a network; its others are options of its training."""
_OPTIONS = {
    "test_size": Field("test_size", "number", 0.2, low=0, high=0.9),
    "seed": Field("seed", "integer", 0, low=0),
    "cv": Field("cv", "integer", 0, low=0, high=100),
}


class TrainForm:
    """A form over the frames of `namespace`; `data` is one more, and `model` an estimator that was given."""

    def __init__(self, namespace: Callable[[], Mapping[str, Any]], data: Any = None, model: Any = None) -> None:
        self._namespace = namespace
        self._data = data
        self._model = model
        self.choices = Choices(estimator=GIVEN if model is not None else Choices.estimator)
        self.frames: dict[str, Any] = {}
        self.columns: list[Column] = []
        self.problems: dict[str, str] = {}
        self._unreadable = ""
        self.refresh()

    def refresh(self) -> None:
        """Look again which frames there are."""
        self.frames = frames.frames(self._namespace())
        if self._data is not None and not any(frame is self._data for frame in self.frames.values()):
            self.frames = {"data": self._data} | self.frames
        chosen = self.choices.data
        if chosen not in self.frames:
            own = [name for name, frame in self.frames.items() if frame is self._data]
            chosen = (own or list(self.frames) or [""])[0]
        self.columns = []
        self.choices = replace(self.choices, data=chosen)
        self._look()
        self.change()

    def change(self, **given: Any) -> None:
        """Take over what was chosen; `problems` says by field what is wrong. InvalidInput for an unknown field."""
        unknown = [name for name in given if name not in Choices.__dataclass_fields__]
        if unknown:
            raise InvalidInput(f"the form has no field {', '.join(unknown)}")
        before = self.choices
        merged = {name: getattr(before, name) for name in Choices.__dataclass_fields__} | given
        self.choices = Choices(**merged | {"left_out": tuple(merged["left_out"])})
        if before.data != self.choices.data:
            self._look()
        if before.estimator != self.choices.estimator and "parameters" not in given:
            self.choices = replace(self.choices, parameters={})
        self._check()

    def _look(self) -> None:
        """See what the columns of the chosen frame hold; what was chosen of others is let go."""
        frame = self.frames.get(self.choices.data)
        self.columns, self._unreadable = [], ""
        try:
            self.columns = [] if frame is None else frames.columns(frame)
        except InvalidInput as error:
            self._unreadable = str(error)
        names = [column.name for column in self.columns]
        target = self.choices.target if self.choices.target in names else ""
        kept = tuple(name for name in self.choices.left_out if name in names)
        self.choices = replace(self.choices, target=target, left_out=kept)

    @property
    def target(self) -> Column | None:
        """The target column, once it is chosen."""
        return next((c for c in self.columns if c.name == self.choices.target), None)

    @property
    def task(self) -> str:
        """classification or regression: what was chosen, else what the target says; empty without a target."""
        if self.choices.task:
            return self.choices.task
        target = self.target
        return "" if target is None else frames.task_of(target, self.frames[self.choices.data][target.name])

    @property
    def used(self) -> list[Column]:
        """The columns that the model is fitted on."""
        out = {self.choices.target, *self.choices.left_out}
        return [c for c in self.columns if c.kind in USED and c.name not in out]

    def fields(self) -> list[Field]:
        """Those of the chosen estimator."""
        if self.choices.estimator == GIVEN:
            return _fields_of_given(self._model)
        entry, task = self._entry(), self.task or CLASSIFICATION
        return entry.fields(task) if entry.does(task) else []

    def _entry(self) -> Estimator:
        return estimators.estimator(self.choices.estimator)

    def _cls(self) -> type[Any]:
        return type(self._model) if self.choices.estimator == GIVEN else self._entry().cls(self.task)

    def _check(self) -> None:
        wrong: dict[str, str] = {}
        self.problems = wrong
        chosen = self.choices
        if self._unreadable:
            wrong["data"] = self._unreadable
        elif not self.frames:
            wrong["data"] = "The notebook has no data frame yet: make one in a cell, then look again."
        elif not chosen.target:
            wrong["target"] = "Choose the column that is to be predicted."
        elif self.target is not None and self.target.kind == "date":
            wrong["target"] = "A date cannot be predicted; make a number of it."
        elif self.task == REGRESSION and self.target is not None and self.target.kind != "number":
            wrong["task"] = f"{chosen.target} holds no numbers."
        elif not self.used:
            wrong["left_out"] = "No column is left to learn from."
        for name, option in _OPTIONS.items():
            wrong |= values_of(object, [option], {name: getattr(chosen, name)})[1]
        if chosen.cv == 1:
            wrong["cv"] = "0 for none, or from 2 to 100."
        elif chosen.estimator == NETWORK and chosen.cv not in (0, "0", ""):
            wrong["cv"] = "A network is trained once: 0."
        if self.task:
            self._check_estimator(wrong)

    def _check_estimator(self, wrong: dict[str, str]) -> None:
        try:
            cls = self._cls()
            _, by_field = values_of(cls, self.fields(), self.choices.parameters)
            wrong |= {f"parameters.{name}": text for name, text in by_field.items()}
            if self.choices.estimator == "xgboost" and self.task == CLASSIFICATION and not self._numbered():
                wrong["estimator"] = "XGBoost takes classes numbered from 0 on; LightGBM takes these."
            if self.choices.estimator == NETWORK:
                self._check_layers(wrong)
        except ModelyardError as error:
            wrong["estimator"] = str(error)

    def _check_layers(self, wrong: dict[str, str]) -> None:
        try:
            self._network()
        except InvalidInput as error:
            wrong["parameters.hidden"] = str(error)

    def _numbered(self) -> bool:
        values = self.frames[self.choices.data][self.choices.target].dropna().unique().tolist()
        return all(isinstance(v, int) for v in values) and sorted(values) == list(range(len(values)))

    def order(self) -> Order:
        """The training that the form stands for, on the frame as it is now. InvalidInput with the first problem."""
        self.refresh()
        model, spec = self._training()
        rows = self.frames[self.choices.data]
        if self._target.missing:
            rows = rows[rows[self._target.name].notna()]
        known = options_of(spec.kind, self._options())
        data = (rows[[column.name for column in self.used]], rows[self._target.name])
        return Order(spec, model, data, None, known, code=self._code(spec, model))

    def _training(self) -> tuple[Any, TrainSpec]:
        """The model and what is said about its training, without a look at the rows."""
        for where, text in self.problems.items():
            raise InvalidInput(f"{where.removeprefix('parameters.')}: {text}", remedy="Change it in the form.")
        chosen = self.choices
        model = self._network() if chosen.estimator == NETWORK else frames.prepared(self.used, self._estimator())
        spec = TrainSpec.of(model, name=chosen.name or self._called(), test_size=float(chosen.test_size),
                            seed=int(chosen.seed))  # fmt: skip
        return model, replace(spec, options={name: repr(value) for name, value in self._options().items()})

    @property
    def _target(self) -> Column:
        target = self.target
        assert target is not None  # else there is a problem
        return target

    def _called(self) -> str | None:
        return None if self.choices.estimator == GIVEN else self.choices.estimator

    def _options(self) -> dict[str, Any]:
        chosen = self.choices
        found: dict[str, Any] = {"class_weight": "balanced"} if chosen.balanced and self.task == CLASSIFICATION else {}
        if chosen.estimator == NETWORK:
            return {n: v for n, v in self._values().items() if n not in _LAYERS} | found
        found |= {"cv": int(chosen.cv)} if int(chosen.cv) else {}
        return found | ({"learning_curve": True} if chosen.learning_curve else {})

    def _values(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        return values_of(self._cls(), self.fields(), self.choices.parameters)[0]

    def _network(self) -> Any:
        given = {name: value for name, value in self._values().items() if name in _LAYERS}
        if isinstance(given.get("hidden"), int):  # one layer, written as its width
            given["hidden"] = (given["hidden"],)
        return networks.table(**given)

    def _estimator(self) -> Any:
        values = self._values()
        if self.choices.estimator != GIVEN:
            return self._cls()(**values)
        from sklearn.base import clone

        return clone(self._model).set_params(**values)

    def _code(self, spec: TrainSpec, model: Any) -> str:
        head, _, call = code.of(spec, model).rpartition("run = yard.train(")
        target, names = self._target, [column.name for column in self.used]
        source = "rows" if target.missing else self.choices.data
        lines = [f"rows = {self.choices.data}.dropna(subset=[{target.name!r}])"] if target.missing else []
        others = [c.name for c in self.columns if c.name not in names and c.name != target.name]
        if len(others) < len(names):
            lines.append(f"X = {source}.drop(columns={[target.name, *others]!r})")
        else:
            lines.append(f"X = {source}[{names!r}]")
        lines.append(f"y = {source}[{target.name!r}]")
        return "\n".join([head.rstrip("\n"), "", *lines, f"run = yard.train({call}"])

    def code(self) -> str:
        """The cell that does the same; empty while something is wrong."""
        if self.problems:
            return ""
        model, spec = self._training()
        return self._code(spec, model)

    def state(self) -> dict[str, Any]:
        """What changes with each choice, as JSON."""
        chosen = vars(self.choices) | {"left_out": list(self.choices.left_out)}
        fields = self.fields() if self.task or self.choices.estimator == GIVEN else []
        start = estimators.default(fields)
        return {
            "values": chosen | {"parameters": start | dict(self.choices.parameters)},
            "task": self.task,
            "problems": dict(self.problems),
            "code": self.code(),
        }

    def catalog(self) -> dict[str, Any]:
        """What there is to choose from, as JSON; at most 200 columns are named."""
        task = self.task or CLASSIFICATION
        known = [e for e in estimators.installed() if e.does(task) or e.key == self.choices.estimator]
        entries = [{"key": e.key, "label": e.label} for e in known]
        if self._model is not None:
            entries.insert(0, {"key": GIVEN, "label": f"{type(self._model).__name__}, as given"})
        columns = [
            {"name": c.name, "kind": c.kind, "missing": c.missing} | ({"note": c.note} if c.note else {})
            for c in self.columns[:_SHOWN_COLUMNS]
        ]
        return {
            "frames": [
                {"name": name, "rows": len(frame), "columns": frame.shape[1]} for name, frame in self.frames.items()
            ],
            "columns": columns,
            "estimators": entries,
            "fields": [f.plain() for f in self.fields()],
        }


def _fields_of_given(model: Any) -> list[Field]:
    """Those of the class, with the given estimator's values as defaults."""
    own = model.get_params(deep=False)
    return [Field(**vars(f) | {"default": own.get(f.name, f.default)}) for f in fields_of(type(model))]
