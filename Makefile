# The targets that every developer runs. Each does all its own set-up, with nothing but Python 3.11+ and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SEEDS ?= 1000
FIRST ?= 0
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

.PHONY: demo test check sim bench format clean

demo: $(READY)            ## a server, clients through a relay, and a kill -9: what was promised is what was seen
	@$(BIN)/tandem demo

test: $(READY)            ## everything: check, the whole fuzz, and what needs root, namespaces and real clients
	@$(BIN)/ruff format --check src tests
	@$(BIN)/ruff check src tests
	@$(BIN)/mypy
	@TANDEM_FUZZ=full $(BIN)/pytest -n 6 --dist worksteal

check: $(READY)           ## the fast loop, about a minute: format, lint, types, tests
	@$(BIN)/ruff format --check src tests
	@$(BIN)/ruff check src tests
	@$(BIN)/mypy
	@$(BIN)/pytest -n auto -m "not system"

bench: $(READY)           ## what one answer costs in the pure path, and how many leases fit
	@$(BIN)/python -m bench.pure

sim: $(READY)             ## simulated worlds, SEEDS of them from FIRST on; what fails is shrunk and shown
	@$(BIN)/tandem sim --seeds $(SEEDS) --first $(FIRST) --jobs $(JOBS)

format: $(READY)          ## put the code into its form
	@$(BIN)/ruff format src tests
	@$(BIN)/ruff check --fix src tests

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tandem needs Python 3.11 or newer; say PYTHON=/path/to/python3.11 if it is not $(PYTHON)."; exit 1; }
	@$(PYTHON) -m venv --clear .venv || \
		{ echo "This Python cannot make virtual environments; on Debian, apt-get install python3-venv."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:                    ## remove all that was set up
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
