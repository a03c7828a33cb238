# Every target makes the virtual environment it needs; done twice, it does nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install plan test check bench check-families

help: ## Say what each target does.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[report]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed ## Make .venv and install floss-sim into it.

plan: install ## Plan a real budget: the main job, some minutes on two cores.
	$(BIN)/floss-plan --budget 50-dense-rounds --upload-ratio 16

test: $(VENV)/.installed-dev ## Run the tests on two processes.
	$(BIN)/pytest --numprocesses 2

check: $(VENV)/.installed-dev ## Check style, types and the layers of the house.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## Run the benchmarks: work counts and ratios, not seconds.
	$(BIN)/pytest tests/bench --override-ini python_files='bench_*.py' --capture=no

check-families: $(VENV)/.installed-dev ## Train tiny models of every family; write experiments/families/README.md.
	PYTHONPATH=tests/support $(BIN)/python -W ignore experiments/families/check.py
