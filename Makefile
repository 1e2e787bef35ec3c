# make train: the main job; make test: lint, types, tests. Both make .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin
# The virtual environment is ready once the package and its tools are in.
READY := .venv/.ready

.PHONY: train test test-slow lint types format ui

train: $(READY)
	$(BIN)/python -m cxrlab.train model=mobilenetv2 $(ARGS)

test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY)
	$(BIN)/python -m cxrlab.ui $(ARGS)

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable ".[dev]"
	touch $(READY)
