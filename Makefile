# Everything a person or CI runs. `make help` lists it. Needs make and Python 3.11 or later, no more:
# each target first sets up what it needs in .venv, and does nothing where that is already there.

PYTHONS := python3.13 python3.12 python3.11 python3.14 python3 python
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --quiet

# The real photo sets, where they lie beside the checkout; tests that need them skip elsewhere.
LISTLENS_DATA ?= $(abspath $(wildcard ../shared/data))
export LISTLENS_DATA
# Tests are spread over the cores; `make test PYTEST_ARGS=` runs them one by one.
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format reference bench clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Run the main job on 39 real photos, or on yours: PHOTOS=folder LABELS=file KIND=multi
	@$(BIN)/python demo/run.py $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(LABELS),--labels "$(LABELS)") $(if $(KIND),--kind "$(KIND)")

test: $(VENV)/.dev ## Run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/.dev ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(VENV)/.dev ## Lint, types, layers, docs, changelog, Dockerfile, deploy
	$(BIN)/ruff check src tests tools demo benchmarks
	$(BIN)/ruff format --check src tests tools demo benchmarks
	$(BIN)/mypy
	$(BIN)/python tools/house_rules.py
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/changelog.py
	$(BIN)/python tools/lint_dockerfile.py
	$(BIN)/python tools/lint_deploy.py

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix src tests tools demo benchmarks
	$(BIN)/ruff format src tests tools demo benchmarks

reference: $(VENV)/.dev ## Rewrite what in the docs derives from the code
	$(BIN)/python tools/reference.py

bench: $(VENV)/.dev ## Measure speed against two plain loops; takes minutes
	$(BIN)/python benchmarks/run.py --install-peers

clean: ## Remove .venv and what the demo wrote
	rm -rf $(VENV) demo/out

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "listlens needs Python 3.11 or later; looked for: $(PYTHONS). Install one, or say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

# Modules are compiled on first use instead of all at once: saves half a minute of installing.
$(VENV)/.runtime: $(VENV)/.python pyproject.toml
	@echo "Installing listlens into $(VENV) ..."
	@$(PIP) --no-compile --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	@echo "Installing listlens and what its tests need into $(VENV) ..."
	@$(PIP) --no-compile --editable '.[dev]'
	@touch $(VENV)/.runtime $@
