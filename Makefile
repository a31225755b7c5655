# Each target makes what it needs, in a virtual environment of the project's own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find src -type f -not -name '*.pyc') pyproject.toml

.PHONY: demo test test-peers lint format wheel clean

demo: $(VENV)/demo.stamp
	$(BIN)/elman demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m "not peer"

# PyTorch is large: only the comparisons with it need it.
test-peers: $(VENV)/peers.stamp
	$(BIN)/python -m pytest -m peer

lint: $(VENV)/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/lint.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/new.stamp
	$(PIP) wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/new.stamp:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "elman must have Python 3.11 or later. Got " + sys.version.split()[0] + ": say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	touch $@

# The built wheel is installed, not the source folder: what is tested and shown is what users get.
$(VENV)/demo.stamp: $(VENV)/new.stamp $(SOURCES)
	@echo "Installing elman into $(VENV) ..."
	$(PIP) install --force-reinstall --no-deps .
	$(PIP) install ".[cli,plot]"
	touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install --group test
	touch $@

$(VENV)/peers.stamp: $(VENV)/test.stamp
	$(PIP) install --group peers
	touch $@

$(VENV)/lint.stamp: $(VENV)/demo.stamp
	$(PIP) install --group lint
	touch $@
