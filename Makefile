# The targets that every developer runs. Each does all its own set-up, with nothing but Python 3.11+ and make.

PYTHON ?= python3
ENV ?= .venv
BIN := $(ENV)/bin
READY := $(ENV)/ready
COMPILED := $(ENV)-compiled/ready
SOURCES := $(shell find src packaging -name '*.py')
SEEDS ?= 1000
FIRST ?= 0
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

.PHONY: demo test check sim breaks bench compare docs packages compiled test-compiled format clean

demo: $(READY)            ## a server, clients through a relay, and a kill -9: what was promised is what was seen
	@$(BIN)/tandem demo

test: $(READY)            ## everything: check, the whole fuzz, and what needs root, namespaces and real clients
	@$(BIN)/ruff format --check src tests packaging bench monitoring
	@$(BIN)/ruff check src tests packaging bench monitoring
	@$(BIN)/mypy
	@TANDEM_FUZZ=full $(BIN)/pytest -n 10 --dist worksteal -m "not speed"
	@$(BIN)/python tests/rfc/breaks.py --sample 8

check: $(READY)           ## the fast loop, about a minute: format, lint, types, tests
	@$(BIN)/ruff format --check src tests packaging bench monitoring
	@$(BIN)/ruff check src tests packaging bench monitoring
	@$(BIN)/mypy
	@$(BIN)/pytest -n auto -m "not system and not speed and not thorough"

bench:                    ## Tandem beside Kea, with Debian's Python, as root: five minutes; FULL=1 everything, about an hour
	@xargs -a bench/packages.txt dpkg -s >/dev/null 2>&1 || { apt-get update -q && \
		xargs -a bench/packages.txt apt-get install -q -y --no-install-recommends; }
	@$(MAKE) --no-print-directory compare ENV=.venv-bench PYTHON=/usr/bin/python3

compare: $(COMPILED) $(ENV)/bench
	@$(BIN)/pytest -m speed
	@PYTHONPATH=tests $(BIN)/python -m bench.compare $(if $(FULL),--full)

$(ENV)/bench: $(READY) bench/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	@touch $@

sim: $(READY)             ## simulated worlds, SEEDS of them from FIRST on; what fails is shrunk and shown
	@$(BIN)/tandem sim --seeds $(SEEDS) --first $(FIRST) --jobs $(JOBS)

breaks: $(READY)          ## each MUST of the RFCs broken on purpose, with the test that notices; SECTIONS="8156 8.4" selects
	@$(BIN)/python tests/rfc/breaks.py --jobs $(JOBS) $(if $(SECTIONS),"$(SECTIONS)")

docs: .venv-docs/ready    ## the documents as a site, in dist/site; fails if a link leads nowhere
	@.venv-docs/bin/mkdocs build --quiet

.venv-docs/ready: docs/requirements.lock
	@$(PYTHON) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@

format: $(READY)          ## put the code into its form
	@$(BIN)/ruff format src tests packaging bench monitoring
	@$(BIN)/ruff check --fix src tests packaging bench monitoring

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tandem needs Python 3.11 or newer; say PYTHON=/path/to/python3.11 if it is not $(PYTHON)."; exit 1; }
	@$(PYTHON) -m venv --clear $(ENV) || \
		{ echo "This Python cannot make virtual environments; on Debian, apt-get install python3-venv."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

packages:                 ## Debian and RPM packages and wheels, compiled if possible, in dist; does all its own set-up
	@$(PYTHON) packaging/build.py all

compiled: $(COMPILED)     ## the same with the pure core compiled, in .venv-compiled; needs a C compiler, takes two minutes

$(COMPILED): $(READY) $(SOURCES)
	@echo "Compiling the pure core; this takes about two minutes."
	@$(PYTHON) -m venv --clear $(ENV)-compiled
	@$(ENV)-compiled/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@TANDEM_BUILD=compiled $(ENV)-compiled/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation .
	@$(ENV)-compiled/bin/tandem --version
	@touch $@

test-compiled: $(COMPILED)    ## what tests the pure core, on the compiled build
	@$(ENV)-compiled/bin/pytest -n auto -m "not interpreted" -o pythonpath="tests ." tests/fuzz/test_fuzz_partner.py \
		tests/pair tests/rfc tests/scripts tests/sim/test_worlds.py tests/unit tests/wire

clean:                    ## remove all that was set up
	@rm -rf .venv .venv-compiled .venv-docs .venv-packages .venv-bench .venv-bench-compiled dist
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
