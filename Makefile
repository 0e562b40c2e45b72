# Everything runs in .venv, made anew when the pinned versions change.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

# Builds of torch for CPUs. The usual index has those for CUDA on Linux.
CPU_WHEELS ?= https://download.pytorch.org/whl/cpu

.PHONY: help setup cuda test coverage test-install quick check lint types lock bench docs demo \
	ui clean

help:
	@echo "make demo          compress the embedded model twice: one passes the gate, one is blocked"
	@echo "make cuda          replace torch's build for CPUs by the one for CUDA (2.7 GB)"
	@echo "make ui            open MLflow on what was logged"
	@echo "make test          run the tests"
	@echo "make coverage      run the tests, slower, and print which lines they reach"
	@echo "make test-install  run the tests that install the package in fresh environments"
	@echo "make quick         run the tests that take seconds"
	@echo "make check         check style, types and dependencies"
	@echo "make lint          check style"
	@echo "make types         check types"
	@echo "make lock          write the digests of the constraints into conda.yaml"
	@echo "make bench         measure speed and growth, show what changed since the last time"
	@echo "make docs          build the documentation in site/"
	@echo "make clean         remove the environment; runs and models stay"

setup: $(READY)

# torch first and alone, so that its build satisfies what follows. Its index may be out of reach.
$(READY): pyproject.toml constraints.txt constraints-cuda.txt constraints-test.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --retries 1 --timeout 15 --no-deps --index-url \
		$(CPU_WHEELS) --constraint constraints.txt torch 2> .venv/torch.log || echo "No torch for CPUs" \
		"at $(CPU_WHEELS) (.venv/torch.log): taking your package index's, on Linux for CUDA, 2.7 GB."
	$(BIN)/python -m pip install --quiet --constraint constraints-cuda.txt \
		--constraint constraints-test.txt --editable '.[all,test]'
	touch $@

cuda: $(READY)
	$(BIN)/python -m pip install --force-reinstall --constraint constraints-cuda.txt torch

# Two workers with one thread each; all tests of a file run on one of them.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(COVERAGE) -n 2 --dist loadfile \
		--no-loadscope-reorder -m "not install"

coverage:
	$(MAKE) test COVERAGE=--cov

# Tests that build a wheel and make environments of their own: minutes, and a network.
test-install: $(READY)
	$(BIN)/python -m pytest -m install

quick: $(READY)
	$(BIN)/python -m pytest -m "not slow and not install"

check: lint types
	$(BIN)/python -m pip check

# The experiment is created first: MLflow would put its artifacts elsewhere. no_fail: the second
# model is blocked, which would end the demo with an error. STOP=full asks half of the suite.
STOP ?= early
demo: $(READY)
	$(BIN)/python -c 'from comptrust.tracking import runs; runs.experiment_id()'
	for recipe in "-P method=rtn -P bits=8 -P promote_to=demo" \
			"-P method=magnitude -P structure=2:4"; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" mlflow run . --env-manager=local \
			--experiment-name comptrust -P no_fail=true -P stop=$(STOP) $$recipe || exit; \
	done
	@$(BIN)/python -m pipelines.demo

ui: $(READY)
	@$(BIN)/python -m pipelines.ui
	$(BIN)/mlflow ui --backend-store-uri "$(MLFLOW_TRACKING_URI)"

# After a change of the constraints.
lock:
	for file in constraints.txt constraints-cuda.txt; do \
		sed -i "s/\($$file  # sha256\) [0-9a-f]*/\1 $$(sha256sum $$file | cut -c1-12)/" conda.yaml; \
	done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# DATA: folder of the original DecodingTrust data.
# HARNESS: Python of an environment with lm-evaluation-harness, to compare with.
bench: $(READY)
	$(BIN)/python benchmarks/all.py $(if $(DATA),--data "$(DATA)") \
		$(if $(HARNESS),--harness "$(HARNESS)")

docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html, or run '.venv-docs/bin/python -m mkdocs serve'."

.venv-docs/.ready: docs/requirements.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement docs/requirements.txt
	touch $@

clean:
	rm -rf .venv .venv-docs site
