# Everything runs in .venv, made anew when the pinned versions change.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help setup test quick check lint types bench demo ui docs clean

help:
	@echo "make demo   compress the embedded model with 4-bit GPTQ, measure it, gate it (MLflow project run)"
	@echo "make ui     open MLflow on what was logged"
	@echo "make test   run all tests and print their coverage"
	@echo "make quick  run the tests that take seconds"
	@echo "make check  style, types, dependencies"
	@echo "make lint   check style"
	@echo "make bench  measure speed and growth, show what changed since the last time"
	@echo "make types  check types"
	@echo "make docs   build the documentation in site/ (an environment of its own, without torch)"
	@echo "make clean  remove the environment; runs and models stay"

setup: $(READY)

# torch alone first: a build of it that is already at hand then satisfies everything that follows.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# Two workers, a file's tests on one of them; a thread each, so that they do not stand in each other's way.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --cov -n 2 --dist loadfile --no-loadscope-reorder

quick: $(READY)
	$(BIN)/python -m pytest -m "not slow"

check: lint types
	$(BIN)/python -m pip check

# The experiment is made first, so that its artifacts go to mlartifacts/ rather than where MLflow would put them.
demo: $(READY)
	$(BIN)/python -c 'from comptrust.tracking import runs; runs.experiment_id(runs.client())'
	PATH="$(CURDIR)/$(BIN):$$PATH" mlflow run . --env-manager=local --experiment-name comptrust -P method=gptq -P bits=4
	@echo "Run 'make ui' to look at it in MLflow."

ui: $(READY)
	$(BIN)/mlflow ui --backend-store-uri "$(MLFLOW_TRACKING_URI)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# DATA: folder of the original DecodingTrust data; HARNESS: Python of an environment with lm-evaluation-harness to compare with.
bench: $(READY)
	$(BIN)/python benchmarks/all.py $(if $(DATA),--data "$(DATA)") $(if $(HARNESS),--harness "$(HARNESS)")

docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html, or run '.venv-docs/bin/python -m mkdocs serve'."

.venv-docs/.ready: docs/requirements.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement docs/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-docs site
