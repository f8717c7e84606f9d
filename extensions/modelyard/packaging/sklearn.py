"""The skops flavor: scikit-learn estimators without pickle."""

from __future__ import annotations

import warnings
from typing import Any

from modelyard.packaging.torch import is_module

SKOPS_FILE = "model.skops"
"""Where MLflow keeps the model in its directory; the skops flavor reads the same file."""


class NotSkops(Exception):
    """skops cannot write this model, or not so that another process can read it; the text says why."""


def trusted_types(model: Any) -> tuple[str, ...]:
    """The types that a reader of `model`'s skops file has to trust, as found here by its owner. Raises NotSkops."""
    if not hasattr(model, "__sklearn_tags__") or is_module(model):
        raise NotSkops("only scikit-learn models are kept as skops")
    from modelyard_server.flavors.skops import io  # imports skops without PyTorch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = io.dumps(model)
            types = tuple(sorted(io.get_untrusted_types(data=content)))
    except Exception as error:  # skops walks arbitrary objects, which may raise anything
        raise NotSkops(f"skops cannot write it: {type(error).__name__}: {str(error)[:200]}") from error
    own = [name for name in types if name.startswith("__main__.") or "<lambda>" in name or "<locals>" in name]
    if own:
        raise NotSkops(f"{own[0].removeprefix('__main__.')} is defined in the notebook, where no server can import it")
    return types
