# Two commands on a fresh machine with Python, git and make: `make demo` and `make test`.
#   VENV=DIR            use another environment (made if missing)
#   PYTHON=python3.12   the interpreter to make it with
#   PYTEST_ARGS=...     BENCH_ARGS=...     handed on

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.voxplain-installed
PIP := PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --retries 10
INSTALL := $(PIP) install --constraint constraints.txt

# An environment may serve several checkouts in turn; the stamp says whose package it holds now.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif
.PHONY: install demo test test-all check lint format types floors sizes changelog pages parity bench docs
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "voxplain needs Python 3.11 or later, but $(BIN)/python is older; remove $(VENV) and say make PYTHON=python3.12"; exit 2; }
	@echo "installing into $(VENV) (once; up to 6 GB with torch)"
	@rm -f $(STAMP)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@# A broken download is the usual reason to fail; what has arrived is kept, so trying again is cheap.
	@$(INSTALL) setuptools || $(INSTALL) setuptools
	@for left in 2 1 0; do \
		$(INSTALL) --no-build-isolation --editable '.[all,test,dev]' && break; \
		test $$left -gt 0 && echo "installing failed; trying again" && sleep 5 || exit 1; \
	done
	@printf '%s\n' '$(CURDIR)' > $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "voxplain needs Python 3.11 or later as $(PYTHON); say make PYTHON=python3.12, or what yours is called"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -f $(BIN)/python; echo "$(PYTHON) cannot make an environment; install its venv package (Debian: python3-venv)"; exit 2; }

demo: install
	@$(BIN)/voxplain demo --out demo/

# Two workers of one thread each: small networks on two threads spend most of their time waiting for each other.
test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

test-all: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

check: lint format types floors sizes changelog pages

lint: install
	@$(BIN)/ruff check .

format: install
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy

floors: install
	@$(BIN)/lint-imports

sizes: install
	@$(BIN)/python scripts/check_sizes.py

changelog: install
	@$(BIN)/python scripts/changelog.py check

pages: install
	@$(BIN)/python scripts/docs_methods.py --check
	@$(BIN)/python scripts/docs_performance.py --check

# Runs the comparisons with other libraries and writes how near we came into docs/parity.md.
parity: install
	@OMP_NUM_THREADS=1 VOXPLAIN_PARITY=docs/parity.md $(BIN)/python -m pytest tests/oracle $(PYTEST_ARGS)

# Voxplain, its peers and bare torch take turns; results are kept in bench/results. BENCH_ARGS=--list tells the rows.
# By themselves: python -m bench.scans (memory at full size), bench.figures and bench.report (pictures and pages).
bench: install
	@$(BIN)/python -m bench.run $(BENCH_ARGS)

docs: install
	@$(BIN)/python scripts/docs_methods.py
	@$(BIN)/python scripts/docs_performance.py
	@$(BIN)/mkdocs build --strict --quiet
	@echo "docs: site/index.html"
