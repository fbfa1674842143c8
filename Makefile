# Two commands for a fresh machine: `make demo` and `make test`. Both create what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests compute on one thread each; a file's tests stay together, for what they share is made once.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile
TF_VENV := .venv-tensorflow
TF_STAMP := $(TF_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast test-tensorflow lint format clean

help:
	@echo "make install    .venv with everything that demo and test need"
	@echo "make demo       all three jobs, from nothing to judged models, new maps and a policy (3 to 8 minutes on two cores)"
	@echo "make test       the whole test suite, in two processes (WORKERS=2)"
	@echo "make test-fast  the tests without slow learning tests and game engines"
	@echo "make test-tensorflow  the tests of SavedModels, with TensorFlow in an environment of its own (1.7 GB)"
	@echo "make lint       ruff and mypy"

install: $(STAMP)

# torch comes first and is held by constraints.txt, so that no dependency replaces it by a CUDA build.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@touch $@

demo: install
	$(BIN)/ngp demo --out demo

test: install
	$(PYTEST)

test-fast: install
	$(PYTEST) -m "not slow and not engine"

# TensorFlow is large, and nothing else needs it: it stays out of .venv.
$(TF_STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TF_VENV)
	$(TF_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(TF_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[tensorflow,transformers,gymnasium]" pytest pytest-timeout
	@touch $@

test-tensorflow: $(TF_STAMP)
	$(TF_VENV)/bin/pytest tests/deploy/test_export_tensorflow.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(TF_VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
