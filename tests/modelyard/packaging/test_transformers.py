"""Pipelines of transformers: packaged without a pickle, served without a network, answering as in the notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from harness.texts import LABELS, TEXTS, pipe
from modelyard.packaging import build
from modelyard_api.errors import InvalidInput, PublishFailed
from modelyard_api.models import Flavor
from modelyard_server.dataplane import load

PIPELINE = Path("modelyard/pipeline")


def served(model: Any, directory: Path, example: Any = TEXTS) -> dict[str, Any]:
    manifest = build(model, example, directory=directory, trial=False)
    assert manifest.flavor is Flavor.transformers
    return load(directory).predict({manifest.signature.inputs[0].name: TEXTS})


def test_a_classifier_has_labels_and_probabilities(tmp_path: Path) -> None:
    model = pipe("text-classification")
    got = served(model, tmp_path / "p")
    for i, answer in enumerate(model(TEXTS, top_k=None)):
        assert got["label"][i] == answer[0]["label"]
        by_name = {one["label"]: one["score"] for one in answer}
        assert got["probabilities"][i].tolist() == [by_name[name] for name in LABELS]
    assert load(tmp_path / "p").manifest.classes == LABELS


def test_several_labels_at_once_are_scores_and_one_number_is_a_prediction(tmp_path: Path) -> None:
    many = pipe("text-classification", config={"problem_type": "multi_label_classification"})
    got = served(many, tmp_path / "many")
    assert list(got) == ["scores"]
    assert got["scores"].shape == (5, 3)
    one = pipe("text-classification", labels=("score",), config={"problem_type": "regression"})
    got = served(one, tmp_path / "one")
    assert got["prediction"].tolist() == [answer["score"] for answer in one(TEXTS)]


def test_what_the_pipeline_was_made_with_travels(tmp_path: Path) -> None:
    found = pipe("token-classification", aggregation_strategy="simple")
    got = served(found, tmp_path / "tokens")
    wanted = [[{**entity, "score": entity["score"].item()} for entity in answer] for answer in found(TEXTS)]
    assert [json.loads(said) for said in got["entities"]] == wanted
    short = pipe("text-classification", truncation=True, max_length=4, function_to_apply="sigmoid", batch_size=2)
    got = served(short, tmp_path / "short")
    assert got["probabilities"][2].max() == pytest.approx(short(TEXTS)[2]["score"], abs=1e-6)
    assert got["probabilities"][2].max() != pytest.approx(pipe("text-classification")(TEXTS)[2]["score"], abs=1e-3)


def test_texts_become_vectors_and_texts(tmp_path: Path) -> None:
    vectors = pipe("feature-extraction")
    got = served(vectors, tmp_path / "vectors")
    assert got["embedding"].shape == (5, 16)
    first = np.asarray(vectors(TEXTS[0])[0], dtype="float32").mean(axis=0)
    assert got["embedding"][0].tolist() == first.tolist()
    writer = pipe("text-generation", max_new_tokens=6, return_full_text=False)
    got = served(writer, tmp_path / "writer")
    assert got["text"].tolist() == [answer[0]["generated_text"] for answer in writer(TEXTS)]


def test_a_table_with_one_column_of_text(tmp_path: Path) -> None:
    model = pipe("text-classification")
    got = served(model, tmp_path / "p", example=pd.DataFrame({"review": TEXTS}))
    assert got["label"].tolist() == [answer["label"] for answer in model(TEXTS)]


def test_weights_are_safetensors_and_nothing_is_a_pickle(tmp_path: Path) -> None:
    served(pipe("text-classification"), tmp_path / "p")
    files = {p.relative_to(tmp_path / "p").as_posix() for p in (tmp_path / "p").rglob("*") if p.is_file()}
    assert load_file(tmp_path / "p" / PIPELINE / "model.safetensors")
    assert {Path(name).suffix for name in files if name.startswith("modelyard/")} <= {".json", ".safetensors", ".jinja"}
    assert not [name for name in files if name.endswith((".pkl", ".bin", ".py"))]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_mine.py"])
def test_a_folder_with_code_is_not_loaded(name: str, tmp_path: Path) -> None:
    served(pipe("text-classification"), tmp_path / "p")
    (tmp_path / "p" / PIPELINE / name).write_text("raise SystemExit(9)")
    with pytest.raises(InvalidInput, match=f"{name} may hold code"):
        load(tmp_path / "p")


def test_code_from_elsewhere_is_not_loaded(tmp_path: Path) -> None:
    served(pipe("text-classification"), tmp_path / "p")
    file = tmp_path / "p" / PIPELINE / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(InvalidInput, match="auto_map"):
        load(tmp_path / "p")


def test_a_model_of_ones_own_class_is_refused(tmp_path: Path) -> None:
    model = pipe("text-classification")

    class Mine(type(model.model)):  # type: ignore[misc]
        pass

    model.model.__class__ = Mine
    with pytest.raises(PublishFailed, match="Mine is a class that transformers itself has not"):
        build(model, TEXTS, directory=tmp_path / "p", trial=False)


def test_a_task_that_is_not_served_names_those_that_are(tmp_path: Path) -> None:
    model = pipe("text-classification")
    model.task = "zero-shot-classification"
    with pytest.raises(InvalidInput, match="zero-shot-classification is not served") as caught:
        build(model, TEXTS, directory=tmp_path / "p", trial=False)
    assert "token-classification" in caught.value.remedy


_OFFLINE = """
import socket, sys
from pathlib import Path
def refuse(*given, **more): raise AssertionError("a connection is made")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from modelyard_server.dataplane import load
plane = load(Path(sys.argv[1]))
print(plane.predict(plane.example())["label"].tolist())
"""


def test_it_is_tried_in_a_fresh_process_that_makes_no_connection(tmp_path: Path) -> None:
    model = pipe("text-classification")
    build(model, TEXTS, directory=tmp_path / "p")
    done = subprocess.run([sys.executable, "-c", _OFFLINE, str(tmp_path / "p")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([answer["label"] for answer in model(TEXTS)])
    assert torch.is_grad_enabled()
