# Everything is installed into .venv of this clone, never globally.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Each other lane has a target of its own.
ORDINARY := not thorough and not chaos and not long and not bench and not live and not image
IMAGE ?= floe-csv-loader
BASE ?=

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

demo: .venv/installed ## Run the whole pipeline on this machine (ARGS=--once ends with its status)
	@$(BIN)/floe demo $(ARGS)

up: .venv/installed ## Start the stack and leave it running
	@$(BIN)/floe up $(ARGS)

down: .venv/installed ## Stop what `make up` started
	@$(BIN)/floe down

install: .venv/installed ## Install what the product needs

test: .venv/installed-dev ## Run the tests (ARGS="-k name" for some)
	@# Three on two cores: a test that waits leaves its core to another (6 % faster than two).
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "$(ORDINARY)" $(ARGS)

thorough: .venv/installed-dev .venv-fakesnow/installed .venv-dbt-metabase/installed tests/metabase_cli/installed ## Run the dear proofs of each room, on the emulated Snowflake too
	@$(BIN)/pytest -n 2 --dist loadfile -m "thorough and not chaos and not long" $(ARGS)

lint: .venv/installed-dev ## Check style, types, SQL, the Dockerfile and shell scripts
	@ignored="$$(git ls-files --cached --ignored --exclude-standard | head -3)"; \
	  [ -z "$$ignored" ] || { echo "Tracked, though .gitignore names it: $$ignored"; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint lambda_csv_loader/Dockerfile
	$(BIN)/shellcheck .ci/run deployments/hosts/metabase/*.sh
	$(BIN)/sqlfluff lint dbt/models dbt/tests --config dbt/.sqlfluff

chaos: .venv/installed-dev .venv-fakesnow/installed ## Kill -9 at every step
	@$(BIN)/pytest -m chaos $(ARGS)

long: .venv/installed-dev ## Compare many simulated days with their event log
	@$(BIN)/pytest -m long $(ARGS)

bench: .venv/installed-dev .venv/peers/installed ## Measure speed beside peers
	@$(BIN)/pytest -m bench -s $(ARGS)

live: .venv/installed-dev ## Run against real systems, where their variables are set
	@$(BIN)/pytest -m live $(ARGS)

image: ## Build the container image of the CSV loader (BASE=, IMAGE=)
	@docker info >/dev/null 2>&1 || \
	  { echo "The image needs a Docker engine, and \`docker info\` gets no answer. Next: install or start Docker, or set DOCKER_HOST, then make image"; exit 1; }
	@# Lambda refuses an index with attestations, which buildx adds of its own accord.
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform linux/amd64 $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --file lambda_csv_loader/Dockerfile --tag $(IMAGE) $(ARGS) .

test-image: .venv/installed-dev ## Build the image, on a stand-in base if need be, and load files with it
	@$(BIN)/pytest -m image -s tests/image $(ARGS)

lock: ## Resolve the exact pins anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  tests/benchmarks/peers.in -o tests/benchmarks/peers.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  tests/fakesnow.in -o requirements-fakesnow.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  tests/dbt_metabase.in -o requirements-dbt-metabase.lock
	uv pip compile -q --python-platform x86_64-manylinux_2_28 --python-version 3.12 --generate-hashes \
	  --no-header --no-annotate lambda_csv_loader/requirements.in -c requirements.lock \
	  -o lambda_csv_loader/requirements.txt

clean: ## Delete the virtual environment and the stack's data
	@if [ -x $(BIN)/floe ]; then $(BIN)/floe down; fi
	rm -rf .venv .venv-fakesnow .venv-dbt-metabase tests/metabase_cli/node_modules tests/metabase_cli/installed .floe prefect.toml

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Floe needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Next: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv

# A lock is whole, so pip need not resolve (--no-deps); hashes make it exact.
.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing into .venv (about two minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Installing into .venv (about two minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/installed

# The tools that the benchmark compares with would not fit among ours.
.venv/peers/installed: tests/benchmarks/peers.lock | .venv/bin/python
	@echo "Installing the benchmark's peers into .venv/peers ..."
	@$(BIN)/python -m venv .venv/peers
	@.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/benchmarks/peers.lock
	@touch $@

# The Snowflake emulator of the tests needs another DuckDB than Floe does.
.venv-fakesnow/installed: requirements-fakesnow.lock | .venv/bin/python
	@echo "Installing the Snowflake emulator into .venv-fakesnow ..."
	@$(BIN)/python -m venv .venv-fakesnow
	@.venv-fakesnow/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-fakesnow.lock
	@touch $@

# Two clients of Metabase's API that others wrote check the fake of the tests. Neither is a part of Floe.
.venv-dbt-metabase/installed: requirements-dbt-metabase.lock | .venv/bin/python
	@echo "Installing dbt-metabase into .venv-dbt-metabase ..."
	@$(BIN)/python -m venv .venv-dbt-metabase
	@.venv-dbt-metabase/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dbt-metabase.lock
	@touch $@

# Without npm, or where its registry cannot be reached, the tests say that they were skipped and why.
tests/metabase_cli/installed: tests/metabase_cli/package-lock.json
	@command -v npm >/dev/null || { echo "No npm: the tests with Metabase's own command line will be skipped"; exit 0; }; \
	  echo "Installing Metabase's command line into tests/metabase_cli ..."; \
	  npm ci --prefix tests/metabase_cli --silent --ignore-scripts --no-audit --no-fund && touch $@ || \
	  echo "npm could not install it: the tests with Metabase's own command line will be skipped"

.PHONY: help demo up down install test thorough lint chaos long bench live image test-image lock clean
