# The interpreter for the environment: the first of these that is new enough.
CANDIDATES := python3.11 python3.12 python3.13 python3
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $(p))))

BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test lint clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

env: $(STAMP)  ## Create .venv with all that is needed (once, a few minutes)

demo: $(STAMP)  ## Prune a small network from search to export on the CPU
	@$(BIN)/python tools/demo.py

test: $(STAMP)  ## Run all tests and the examples of the docstrings
	@$(BIN)/python -m pytest -n logical --maxprocesses=4 --dist=loadfile

lint: $(STAMP)  ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean:  ## Remove the environment and all caches
	rm -rf .venv build mmdhp.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements/lock.txt setup.py
	@test -n '$(PYTHON)' || { \
		echo 'No Python 3.11 or newer found (tried: $(CANDIDATES)).' \
			'Install one, or name it: make PYTHON=/path/to/python3.11'; \
		exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo '$(PYTHON) is too old or does not run; the pinned' \
			'requirements need Python 3.11 or newer.'; \
		exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo '$(PYTHON) cannot create virtual environments; on Debian' \
			'or Ubuntu install the package python3-venv.'; \
		exit 1; } >&2
	@echo 'Setting up .venv: about 6 GB, a few minutes ...'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps -r requirements/lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@
