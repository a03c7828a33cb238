# Every target makes the virtual environment it needs; done twice, it does nothing.
PYTHON ?= python3
VENV := .venv
FLOWER := .venv-flower
CLUSTER := .venv-cluster
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install plan test check bench check-cluster check-families check-flower check-page

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

$(CLUSTER)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[dask,parsl,ray,slurm]'
	@touch $@

check-cluster: $(CLUSTER)/.installed ## Plan on Dask, Ray, Slurm and Parsl, and kill workers; write experiments/cluster/check.md.
	PYTHONPATH=.:tests/support $(CLUSTER)/bin/python experiments/cluster/check.py

$(FLOWER)/.installed: constraints.txt | $(BIN)/python
	$(PYTHON) -m venv $(FLOWER)
	$(BIN)/python -c "from pathlib import Path; from floss_sim.deployment.library_wheel import write_wheel; write_wheel(Path('$(FLOWER)'))"
	grep -E '^(torch|numpy|transformers|peft|constriction|pcodec|scikit-learn|scipy|pyarrow|safetensors)==' constraints.txt > $(FLOWER)/constraints.txt
	$(FLOWER)/bin/pip install --quiet --disable-pip-version-check --constraint $(FLOWER)/constraints.txt \
		'flwr[simulation]>=1.42,<1.43' mypy torch $(FLOWER)/floss_sim-*.whl
	@touch $@

check-flower: $(VENV)/.installed-dev $(FLOWER)/.installed ## Run the exported app in Flower itself; write experiments/flower/check.md.
	$(BIN)/python -c "from pathlib import Path; from floss_sim.deployment.library_wheel import write_wheel; write_wheel(Path('$(FLOWER)'))"
	$(FLOWER)/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(FLOWER)/floss_sim-*.whl
	$(FLOWER)/bin/mypy --config-file= --follow-imports silent --ignore-missing-imports floss_sim/deployment/flower_app/floss_app/*_app.py
	$(BIN)/python experiments/flower/check.py --flower $(FLOWER)/bin --out experiments/flower/check.md

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(INSTALL) --editable '.[browser]'
	@touch $@

check-page: $(VENV)/.installed-browser ## Look at pages in Chromium; write experiments/report/README.md.
	$(BIN)/python experiments/report/check.py
