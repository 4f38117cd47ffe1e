# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DO_NOT_TRACK := 1

.PHONY: help install demo demo-dft test lint types imports format benchmark chaos thousand check clean

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "leadline needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP)  ## make a virtual environment with leadline in it

demo: $(STAMP)  ## find the ordered Cu-Au phases with a toy potential, in two minutes
	@$(BIN)/leadline run deploy/campaigns/cu-au.yaml --store demo/.leadline

demo-dft: $(STAMP)  ## a small campaign with Quantum ESPRESSO
	@command -v pw.x >/dev/null || \
	  { echo "Quantum ESPRESSO is not there. On Debian or Ubuntu:"; \
	    echo "  apt-get install quantum-espresso quantum-espresso-data"; exit 1; }
	@$(BIN)/leadline run deploy/campaigns/mg-si.yaml --store demo/.leadline-dft

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest

lint: $(STAMP)  ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(STAMP)  ## mend style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(STAMP)  ## check types
	$(BIN)/mypy

imports: $(STAMP)  ## check that imports go one way
	$(BIN)/lint-imports

benchmark: $(STAMP)  ## measure against named peers, in full
	LEADLINE_BENCHMARK=full $(BIN)/python -m pytest tests/benchmarks -m benchmark -s --timeout 7200

SEEDS ?= 20
FIRST_SEED ?= 1
chaos: $(STAMP)  ## let faults befall campaigns: make chaos SEEDS=20 FIRST_SEED=1
	LEADLINE_CHAOS_SEEDS=$(SEEDS) LEADLINE_CHAOS_FIRST_SEED=$(FIRST_SEED) \
	  $(BIN)/python -m pytest tests/chaos -m chaos

thousand: $(STAMP)  ## a thousand calculations on Prefect servers with SQLite and PostgreSQL
	$(BIN)/python -m pytest tests/browser -m thousand

check: lint types imports test  ## style, types, imports and tests

clean:  ## remove what was made
	rm -rf $(VENV) demo build dist *.egg-info .coverage* .hypothesis .mypy_cache .ruff_cache .pytest_cache
