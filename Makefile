# Every target sets up what it needs: git, make and Python >= 3.11 are enough.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .cache/uv/bin/uv)
RUN := .venv/bin
# PyTorch with CUDA is most of the download: `make up TORCH=no` does without.
TORCH ?= yes
WITH_TORCH := $(filter-out no,$(TORCH))
READY_UP := .venv/.ready-up$(if $(WITH_TORCH),-torch)
FRONTEND := extensions/frontend
PANELS := hatch_build.py $(FRONTEND)/package-lock.json $(FRONTEND)/build.mjs $(shell find $(FRONTEND)/src -type f)
NPM := $(RUN)/python $(FRONTEND)/npm.py

# Imports without byte code take twice as long at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test test-gpu test-cluster cluster check fuzz bench bench-cluster format clean
.DEFAULT_GOAL := up

up: $(READY_UP)
	@exec $(RUN)/modelyard up

test: check
	$(NPM) run --silent test
	$(RUN)/pytest -n 2 --ignore=tests/cluster

# On a machine with a CUDA GPU; without one they fail.
test-gpu: .venv/.ready-dev
	MODELYARD_TEST_DEVICE=cuda $(RUN)/pytest -n 4 tests/modelyard/training/test_cuda.py tests/modelyard_server/test_device.py

# What is built from source is built before the tests, whose time is limited.
test-cluster: .venv/.ready-dev
	@$(if $(MODELYARD_TEST_KUBECONFIG),,PYTHONPATH=tests $(RUN)/python -m harness.cluster build)
	$(RUN)/pytest tests/cluster

cluster: .venv/.ready-dev
	@PYTHONPATH=tests exec $(RUN)/python -m harness.cluster up

check: .venv/.ready-dev
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(NPM) run --silent check

format: .venv/.ready-dev
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .
	$(NPM) run --silent format

# Six minutes; Linux on x86-64.
fuzz: .venv/.ready-dev
	@$(UV) sync --locked --inexact --group dev --group fuzz
	$(RUN)/python tests/fuzz/run.py

# PEERS: a folder with other model servers' environments, tests/bench/server_peers.py.
bench: .venv/.ready-dev
	$(RUN)/python tests/bench/run.py $(if $(PEERS),--peers $(PEERS))

# An hour, and the API server is stopped and started: on a cluster of its own, unless the variable names one.
bench-cluster: .venv/.ready-dev
	$(RUN)/python tests/bench/cluster.py $(if $(MODELYARD_TEST_KUBECONFIG),,--restart)
	$(RUN)/python tests/bench/publish_cluster.py
	$(RUN)/python tests/bench/spawns.py
	$(RUN)/python tests/bench/spawn_speed.py --cluster

.cache/uv/bin/uv:
	@echo "Setting up uv $(UV_VERSION)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Modelyard needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.")'
	@$(PYTHON) -m venv .cache/uv
	@.cache/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# `inexact`: what the other targets installed into the same environment stays.
$(READY_UP): pyproject.toml uv.lock $(PANELS) | $(UV)
	@echo "Setting up the environment in .venv ($(if $(WITH_TORCH),about 7 GB the first time; TORCH=no leaves PyTorch out,about 1.5 GB the first time))"
	@$(UV) sync --locked --inexact --extra hub --extra notebook $(if $(WITH_TORCH),--extra torch)
	@touch $@

.venv/.ready-dev: pyproject.toml uv.lock $(PANELS) | $(UV)
	@$(UV) sync --locked --inexact --group dev
	@$(NPM) ci --silent --ignore-scripts
	@touch $@ .venv/.ready-up .venv/.ready-up-torch

clean:
	rm -rf .venv .cache
