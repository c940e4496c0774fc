# What a developer types. Everything lives in $(VENV); nothing else on the machine is changed.
#
#   make demo       the whole chain on virtual devices; the report is runs/demo/report.html
#   make test       the fast tests
#   make test-all   all tests
#   make lint       style, types, import contracts, generated files
#   make bench      timings of the hot paths
#   make clean      remove everything that make made
#
# Variables: PYTHON (3.11 or newer), VENV, OUT, TORCH_INDEX (package index to take torch from).

VENV ?= .venv
OUT ?= runs/demo
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The plain package of some platforms brings gigabytes of GPU libraries: torch comes first, for CPU.
TORCH := torch==2.13.0
PIP_TORCH := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
UV_TORCH := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),--torch-backend=cpu)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint format schema bench clean

help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)

# uv where there is one; pip where there is none, or where uv cannot reach what pip can.
$(STAMP): pyproject.toml
	@echo "Installing into $(VENV), once; this takes a few minutes."
	@if ! command -v uv >/dev/null 2>&1; then $(MAKE) --no-print-directory install-pip; \
	elif ! $(MAKE) --no-print-directory install-uv; then \
	  echo "uv could not install; trying pip"; $(MAKE) --no-print-directory install-pip; fi
	@touch $@

.PHONY: install-uv install-pip
install-uv:
	uv venv --quiet --seed --clear --python '>=3.11' $(VENV)
	uv pip install --quiet --python $(BIN)/python $(UV_TORCH) $(TORCH)
	uv pip install --quiet --python $(BIN)/python --editable '.[dev]'

install-pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_TORCH) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'

demo: $(STAMP)
	$(BIN)/edgehaul demo --out $(OUT)

# One thread for each of the two workers: more only get in each other's way.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" -n 2
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m edgehaul.messages.schema docs/contract --check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP)
	$(BIN)/python -m edgehaul.messages.schema docs/contract

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/bench.py

clean:
	rm -rf $(VENV) build dist runs/demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
