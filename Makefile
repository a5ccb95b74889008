# make demo   the main job against the embedded Hub: no token, no network
# make test   the tests, with branch coverage: at most four minutes on two cores
# make quick  the tests of units, resources and bulks: less than one minute
# make check  format, lint, types, import contracts
# make bench  the benchmarks; make soak: the long forms of some tests
# Each makes .venv and installs what it needs; a second run is quick.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The tests start the package a hundred times: with its bytecode each start takes half.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick check format bench soak clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/python -m spaces_async demo

# -X dev turns on asyncio's debug mode and every warning; pytest makes them errors.
test: $(VENV)/.test
	rm -f .coverage .coverage.*
ifdef ARGS
	$(BIN)/python -X dev -m coverage run -m pytest $(ARGS)
else
	$(BIN)/python -X dev -m coverage run -m pytest --quiet -n auto --dist worksteal
endif
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

quick: $(VENV)/.test
	$(BIN)/python -m pytest --quiet -n auto --dist worksteal -o asyncio_debug=false \
		tests/unit tests/resources tests/bulk $(ARGS)

check: $(VENV)/.test $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The long forms of the tests that repeat something at random, or for long.
soak: $(VENV)/.test
	SOAK=1 $(BIN)/python -X dev -m pytest tests/unit tests/bulk tests/session/test_load.py tests/session/test_pacing.py $(ARGS)

bench: $(VENV)/.test
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf .venv .venv-* .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(PIP) install --editable ".[cli]"
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) install --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.runtime
	$(PIP) install --group lint
	@touch $@
