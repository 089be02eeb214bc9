PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= heart_disease
export DAGSTER_HOME ?= $(or $(SECURE_ML_HOME),$(CURDIR)/.secure_ml)/dagster
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true

# Tests run in this many processes. What starts another product is in `services`, campaigns are in `soak`.
WORKERS ?= 2
SERVICES := (spark or postgres or s3 or dvc or browser) and not soak

.PHONY: run check test services soak ui bench lock setup lint

run: setup
	$(BIN)/python -m assets run $(MODEL)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest -n $(WORKERS) tests/properties tests/unit

test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

services: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m "$(SERVICES)"

soak: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m soak --timeout 3600

ui: setup
	$(BIN)/python -m assets ui

bench: setup
	$(BIN)/python -m tests.benchmarks

setup: $(VENV)/installed

# The stamp holds for these two files only; a changed hash in the lock fails here.
$(VENV)/installed: requirements.lock pyproject.toml
	@echo "installing what requirements.lock names into $(VENV); this takes some minutes, once"
	$(PYTHON) -m venv $(VENV)
	@echo "1 of 2: fetching $$(grep -c '==' requirements.lock) packages"
	@bash -o pipefail -c '$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check \
	    --no-deps --require-hashes -r requirements.lock | \
	    while read -r said _; do case $$said in \
	        Collecting|Processing) (( ++n % 20 )) || echo "  $$n packages";; \
	        Installing) echo "  unpacking them";; \
	    esac; done'
	@echo "2 of 2: secure-ml itself"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	touch $@

# Keeps what is locked and still fits; `make lock UPGRADE=--upgrade` takes the newest of all.
lock:
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --extra serve --extra platform --extra dev --generate-hashes \
	    --python-version 3.11 $(UPGRADE) -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --extra spark --generate-hashes \
	    --python-version 3.11 $(UPGRADE) -o tests/conformance/spark.lock pyproject.toml
