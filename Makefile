# make demo   the main job against the embedded Hub: no token, no network
# make test   the tests: about four minutes on two cores
# make quick  units, resources and bulks, without what takes long: half a minute
# make test-lowest: some of the tests, with the lowest version of each dependency
# make coverage: the tests, with branch coverage, which take twice as long
# make check  format, lint, types, import contracts
# make bench  the benchmarks (QUICK=1); make bench-instructions: counted by valgrind
# make docs   the site, with the reference of all public names, in build/site
# make day    plays the page "A day with an org", and writes it with its pictures
# make soak   the long forms of some tests
# Each makes .venv and installs what it needs; a second run is quick.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := cli,redis,speed,otel,prometheus,structlog
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Many tests wait for a process or for real time: two workers more than there are cores.
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell expr 2 + `getconf _NPROCESSORS_ONLN`)

# The tests start the package a hundred times: with its bytecode each start takes half.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage coverage-report quick test-lowest check format bench bench-instructions soak docs day clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/python -m spaces_async demo

# -X dev turns on asyncio's debug mode and every warning; pytest makes them errors.
test: $(VENV)/.test
	$(BIN)/python -X dev -m pytest $(or $(ARGS),--quiet -n auto --dist worksteal)

BRANCH := --branch
coverage: $(VENV)/.test
	rm -f .coverage .coverage.*
	$(BIN)/python -X dev -m coverage run $(BRANCH) -m pytest $(or $(ARGS),--quiet -n auto --dist worksteal)
	$(MAKE) coverage-report VENV=$(VENV)

coverage-report:
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# What users install is as old as pyproject.toml allows, on Python 3.11 if it is there:
# old versions have no wheels for new Pythons. What only tests need is as new as it gets.
LOWEST := .venv-lowest
LOWEST_PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo $(PYTHON))
test-lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest --quiet -n auto --dist worksteal tests/unit tests/resources tests/bulk tests/observe \
		tests/cli tests/session/test_retries.py --ignore=tests/bulk/test_nemesis.py $(ARGS)

SLOW := test_breaker.py test_hosts.py test_kill.py test_nemesis.py test_scenes.py
quick: $(VENV)/.test
	$(BIN)/python -m pytest --quiet -n auto --dist worksteal -o asyncio_debug=false \
		tests/unit tests/resources tests/bulk $(addprefix --ignore=tests/bulk/,$(SLOW)) $(ARGS)

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
	SOAK=1 $(BIN)/python -X dev -m pytest tests/unit tests/bulk tests/session/test_load.py tests/session/test_pacing.py \
		tests/session/test_ledgers.py $(ARGS)

# QUICK=1 only sees that everything runs; ARGS="calls bulk" are some topics. Only a whole run
# writes docs/performance.md.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(ARGS)

# ARGS=--update commits to the figures of now.
bench-instructions: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks.instructions $(ARGS)

# Material says on each run that MkDocs 2.0 will have no plugins; pyproject.toml pins it.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .ci/mkdocs.yml
	@echo build/site/index.html

day: $(VENV)/.test
	$(BIN)/python -m tests.day

clean:
	rm -rf build/site .venv .venv-* .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(PIP) install --editable ".[cli]"
	@touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) install --editable ".[$(EXTRAS)]" --group test
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(PIP) install --group bench
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(PIP) install --editable ".[$(EXTRAS)]" --group docs
	@touch $@

$(VENV)/.lint: $(VENV)/.runtime
	$(PIP) install --group lint
	@touch $@

$(LOWEST)/.test: pyproject.toml
	$(LOWEST_PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet install --upgrade "pip>=25.1"
	$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet install --group lowest
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --no-deps --all-extras \
		--python $(LOWEST)/bin/python --output-file $(LOWEST)/lowest.txt pyproject.toml
	$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet install \
		--constraint $(LOWEST)/lowest.txt --editable ".[$(EXTRAS)]" --group test
	@touch $@
