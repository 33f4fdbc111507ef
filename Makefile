# Everything a developer types. `make setup` is a part of all others: a fresh clone needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo vmgp-table test check format schema golden clean

help:  ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

setup: $(VENV)/.installed  ## make .venv with everything in it

demo: setup  ## pretrain a small MosaicBERT on the standard library's sources (CPU, about three minutes)
	$(BIN)/galley fit -c yaml/mosaicbert/tiny.yaml

vmgp-table: setup  ## train the few-shot results table and write docs/results/vmgp.md (hours; goes on where it stopped)
	$(BIN)/python -m benchmarks.vmgp_table

test: setup  ## all tests that need no GPU
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: setup  ## lint, format, types, YAML
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/recipes/test_config_yamls.py

format: setup  ## put the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: setup  ## write galley.schema.json, with which editors complete and check the YAML
	$(BIN)/galley schema

golden: setup  ## write the golden resolved configs anew, for a diff to be read
	GALLEY_WRITE_GOLDEN=1 $(BIN)/python -m pytest tests/recipes/test_config_yamls.py tests/recipes/test_cli_help.py

clean:  ## remove what tools leave behind (never runs/ or data/)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
