# Every target sets up what it needs by itself, and installs nothing a second time. `make help` lists them.

PYTHON ?= python3.11
BIN := .venv/bin
HAVE_PYTHON = @$(PYTHON) -c '' 2>/dev/null || \
	{ echo "There is no working $(PYTHON) here; install Python 3.11, or name it: make $@ PYTHON=/path/to/python3.11" >&2; exit 1; }
SETUP := @$(PYTHON) tools/setup.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## make .venv with everything a developer needs
	$(HAVE_PYTHON)
	$(SETUP) test lint recipes

demo:  ## fine-tune and audit the embedded model, end to end; ends with the name of the report
	$(HAVE_PYTHON)
	$(SETUP)
	@$(BIN)/intaglio demo

test:  ## run the tests
	$(HAVE_PYTHON)
	$(SETUP) test
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=25

lint:  ## ruff, the floors, types
	$(HAVE_PYTHON)
	$(SETUP) test lint
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

bench:  ## every audit method on every set, two regimes; ends with one line of JSON
	$(HAVE_PYTHON)
	$(SETUP)
	@$(BIN)/intaglio bench authenticate --json

docs:  ## write docs/methods anew from the methods' docstrings
	$(HAVE_PYTHON)
	$(SETUP) test
	@$(BIN)/python docs/generate.py
