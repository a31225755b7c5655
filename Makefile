# Each target makes what it needs, in a virtual environment of the project's own.
PYTHON ?= python3
VENV := .venv
CXX ?= g++
BIN := $(VENV)/bin
OBJECTS := $(abspath $(VENV))/objects
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CPP := $(wildcard src/elman/kernels/*.cpp src/elman/kernels/*.hpp)
SOURCES := $(shell find src -type f -not -name '*.pyc' -not -name '*.so') pyproject.toml CMakeLists.txt

.PHONY: demo test test-page test-peers bench results sanitize fuzz lint api docs tutorials format wheels ci-long clean

demo: $(VENV)/demo.stamp
	$(BIN)/elman demo

# What both run is tested on the plain equations too, then everything on the kernels.
test: $(VENV)/test.stamp
	ELMAN_PLAIN=1 $(BIN)/python -m pytest tests/test_gradients.py tests/test_golden.py tests/test_forms.py \
	    tests/test_cell_variants.py \
	    tests/test_streaming.py tests/test_streams.py tests/test_bits.py tests/test_dense.py
	$(BIN)/python -m pytest

# The page in a browser: chromium and its driver are the system's, apt-get install chromium chromium-driver.
test-page: $(VENV)/page.stamp
	$(BIN)/python -m pytest tests/test_page.py

# PyTorch is large: only the comparisons with it need it.
test-peers: $(VENV)/peers.stamp
	$(BIN)/python -m pytest -m peer

# Prints the table of ratios against the peers, and writes it to benchmarks/results and docs/performance.md.
bench: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/page.py

# Runs every experiment beside PyTorch, about an hour, and writes docs/results.md. DATA: the folder of the data.
RESULTS := sequence_classification jsb_chorales adding_problem reber ragged_cost airline_sunspots m4_hourly ett \
    tiny_shakespeare
results: $(VENV)/results.stamp
	for name in $(RESULTS); do $(BIN)/python experiments/$$name.py $(if $(DATA),--data $(DATA)) || exit 1; done
	$(BIN)/python experiments/page.py

# The kernels' tests with the compiler's checks of addresses and of undefined behavior built in.
sanitize: $(VENV)/sanitize.stamp
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	PYTHONPATH=$(VENV)/sanitize $(BIN)/python -m pytest tests/test_kernels.py tests/test_kernel_accuracy.py \
	    tests/test_kernel_safety.py tests/test_forms.py tests/test_streaming.py tests/test_dense.py \
	    tests/test_shared_memory.py tests/test_layouts.py tests/test_streams.py \
	    -k "not memory_that_runs_out and not beyond_all_memory and not within_a_second and not allocates_nothing and \
	        not binary_is_small"

# Broken files against every reader, for three minutes or as SECONDS says. What is found stays in build/fuzz.
SECONDS := 180
fuzz: $(VENV)/test.stamp
	$(BIN)/python tests/fuzz_readers.py --seconds $(SECONDS)

# Every public signature; tests/test_api.py holds the changelog to what differs from the last release.
api: $(VENV)/test.stamp
	$(BIN)/python tools/api.py > docs/api.txt

# The site of these pages, every warning an error, in build/docs.
docs: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

# Two of the tutorials in Jupyter; `make ci-long` runs them all.
tutorials: $(VENV)/docs.stamp
	$(BIN)/python -m pytest tests/test_tutorials.py

lint: $(VENV)/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	$(BIN)/mypy

format: $(VENV)/lint.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(CPP)

# The pure wheel, and the compiled one for this Python and any Linux as new as this; each tried without a compiler.
wheels: $(VENV)/wheels.stamp
	rm -rf dist $(VENV)/compiled
	ELMAN_PURE=1 $(PIP) wheel --no-deps --wheel-dir dist .
	$(PIP) wheel --no-deps --wheel-dir $(VENV)/compiled --config-settings=build-dir=$(OBJECTS) .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist $(VENV)/compiled/*.whl
	$(BIN)/python tools/try_wheels.py dist/*.whl

# What takes too long for every change: run it before a release.
ci-long: $(VENV)/page.stamp $(VENV)/docs.stamp
	$(MAKE) wheels
	$(MAKE) fuzz
	$(BIN)/python tests/kills.py 200
	ELMAN_MALFORMED_CALLS=60000 $(BIN)/python -m pytest tests/test_malformed_calls.py
	$(BIN)/python -m pytest -m long

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/new.stamp:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "elman must have Python 3.11 or later. Got " + sys.version.split()[0] + ": say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	touch $@

# The built wheel is installed, not the source folder: what is tested and shown is what users get.
$(VENV)/demo.stamp: $(VENV)/new.stamp $(SOURCES)
	@echo "Building elman and installing it into $(VENV), a minute or two ..."
	rm -rf $(VENV)/wheel
	$(PIP) wheel --no-deps --wheel-dir $(VENV)/wheel --config-settings=build-dir=$(OBJECTS) .
	$(PIP) install --force-reinstall --no-deps $(VENV)/wheel/*.whl
	$(PIP) install "$$(ls $(VENV)/wheel/*.whl)[cli,plot]"
	$(BIN)/elman doctor
	touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install "$$(ls $(VENV)/wheel/*.whl)[all]" --group test
	touch $@

$(VENV)/page.stamp: $(VENV)/test.stamp
	$(PIP) install --group page
	touch $@

$(VENV)/peers.stamp: $(VENV)/test.stamp
	$(PIP) install --group peers
	touch $@

$(VENV)/bench.stamp: $(VENV)/peers.stamp
	$(PIP) install --group bench
	touch $@

$(VENV)/results.stamp: $(VENV)/peers.stamp
	$(PIP) install --group experiments
	touch $@

$(VENV)/sanitize.stamp: $(VENV)/test.stamp
	rm -rf $(VENV)/sanitize
	$(PIP) install --no-deps --target $(VENV)/sanitize . \
	    --config-settings=cmake.define.ELMAN_SANITIZE=ON --config-settings=build-dir=$(OBJECTS)-sanitize
	touch $@

$(VENV)/docs.stamp: $(VENV)/test.stamp
	$(PIP) install --group docs
	touch $@

$(VENV)/wheels.stamp: $(VENV)/new.stamp
	$(PIP) install --group wheels
	touch $@

$(VENV)/lint.stamp: $(VENV)/test.stamp
	$(PIP) install --group lint
	touch $@
