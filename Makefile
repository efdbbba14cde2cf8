# Everything a person does in this repository. Each target sets itself up; `make` alone lists them.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
LOCK   := .ci/requirements.txt
READY  := $(VENV)/.ready
IDP    := tests/idp/node_modules/.ready
CLIENTS := tests/clients/node_modules/.ready
FUZZER := $(VENV)/.fuzz
SHORT  := tests/frameworks/short/.ready
LONG   := tests/frameworks/long/.ready
LINTED := $(VENV)/lint.log
TYPED  := tunnelctl server/tunnelrelay tests/support tests/demo tests/bench tests/bounds
CORES  := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Three for two cores: tests wait for processes and pages a third of their time.
WORKERS ?= $(shell echo $$(( ($(CORES) * 3 + 1) / 2 )))
# Else every process that a test starts compiles its modules again, some images set it: 10 s instead of 1 for a relay.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench journeys fuzz lock clean python

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(IDP) $(CLIENTS) $(SHORT) ## Create .venv with the locked dependencies

demo: $(READY) ## Start an app, a relay and a login in front of it (CHECK=1: sign in by itself and exit)
	@$(PY) -m tests.demo $(if $(CHECK),--check)

# The linters run beside the tests, on the core that these leave idle, and say what they found below them.
test: $(READY) $(IDP) $(CLIENTS) $(SHORT) ## Run the linters and the tests, but for those that only CI has the time for
	@$(MAKE) --no-print-directory lint >$(LINTED) 2>&1 & linters=$$!; trap 'kill $$linters' INT TERM; \
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not (long or thorough)" $(ARGS); tests=$$?; \
	wait $$linters; linted=$$?; cat $(LINTED); exit $$((tests | linted))

journeys: $(READY) $(IDP) $(CLIENTS) $(SHORT) $(LONG) ## Run the long journeys too: real processes, a real browser, 1 GB each way
	$(PY) -m pytest -m "journey or long or thorough" $(ARGS)

fuzz: $(FUZZER) ## Fuzz every reader of hostile bytes, with coverage guidance (FUZZ_SECONDS=10 each)
	$(PY) -m tests.fuzz

lint: $(READY) ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(TYPED)

format: $(READY) ## Let ruff rewrite what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(READY) ## Measure against nginx, and against ssh, frp, chisel and rathole where they are on PATH
	$(PY) -m tests.bench $(ARGS)

lock: $(READY) ## Write .ci/requirements.txt anew from pyproject.toml
	$(PY) -m pip install -q uv
	@echo '# The versions that CI and `make` install; `make lock` writes it anew from pyproject.toml.' > $(LOCK).new
	$(VENV)/bin/uv pip compile -q pyproject.toml --extra server --group dev --universal --python-version 3.11 \
		--upgrade --generate-hashes --no-header >> $(LOCK).new
	mv $(LOCK).new $(LOCK)
	@echo '# What `make fuzz` installs beside .ci/requirements.txt; `make lock` writes it anew.' > tests/fuzz/requirements.txt
	echo 'atheris==3.0.0' | $(VENV)/bin/uv pip compile -q - --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate >> tests/fuzz/requirements.txt
	@for kit in short:django,flask,flask-sock,flask-wtf long:gradio,jupyterlab,streamlit; do \
		file=tests/frameworks/$${kit%%:*}/requirements.txt; \
		echo '# Of the frameworks that a journey runs, those from PyPI; `make lock` writes it anew.' > $$file; \
		echo $${kit#*:} | tr , '\n' | $(VENV)/bin/uv pip compile -q - --universal --python-version 3.11 \
			--generate-hashes --no-header --no-annotate >> $$file; done

clean: ## Remove what was built and installed
	rm -rf $(VENV) tests/idp/node_modules tests/clients/node_modules tests/frameworks/*/.venv tests/frameworks/*/node_modules tests/frameworks/*/.ready tests/frameworks/*/.work .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/artifacts .tunnelctl-demo

# What pip says, as a line now and then: quiet it is silent for minutes, else it writes a thousand lines.
define PIP_PROGRESS
/^Collecting / { if (++got % 20 == 0) { printf "make:   %d of %d packages fetched\n", got, all; fflush() } }
/^Installing collected packages/ { print "make:   unpacking them"; fflush() }
/^pip [0-9]+$$/ { code = $$2 }
END { exit code }
endef
export PIP_PROGRESS

# Says exactly what to install, before pip says something unreadable.
python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo 'make: $(PYTHON) is not installed'; \
		echo 'hint: sudo apt-get install python3 python3-venv (or name another: make PYTHON=python3.12)'; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1)"; \
		echo 'hint: install a newer one and name it: make PYTHON=python3.12'; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'make: $(PYTHON) cannot create virtual environments'; \
		echo 'hint: sudo apt-get install python3-venv'; exit 1; } >&2

$(READY): pyproject.toml $(LOCK) | python
	@test -x $(PY) || { echo 'make: creating $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo "make: installing the $$(grep -c '==' $(LOCK)) locked packages into $(VENV); the first time takes a minute or more"
	@{ $(PY) -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $(LOCK); echo "pip $$?"; } \
		| awk -v all="$$(grep -c '==' $(LOCK))" "$$PIP_PROGRESS"
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps -e .
	@echo 'make: ready'
	@touch $@

# atheris is large, and has no wheels for every Python and machine: only who fuzzes needs it.
$(FUZZER): tests/fuzz/requirements.txt | $(READY)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The npm providers are for the journeys; without node they say so (and fail in CI).
$(IDP): tests/idp/package.json tests/idp/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
		echo 'make: installing the npm OpenID providers for the tests; the first time takes half a minute' && \
		npm ci --prefix tests/idp --no-audit --no-fund --loglevel=error && touch $@; \
	else echo 'make: npm is not installed; journeys with the npm OpenID providers will be skipped' >&2; fi

# --ignore-scripts: the package would download ngrok, in whose place the tests give it our agent.
$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
		npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo 'make: npm is not installed; the journey with npm'\''s ngrok will be skipped' >&2; fi

# The web frameworks of docs/guides/frameworks.md, apart from our own libraries. The long kit takes 1.2 GB.
tests/frameworks/%/.ready: tests/frameworks/%/requirements.txt tests/frameworks/%/package-lock.json | python
	@echo 'make: installing the web frameworks for the $* journeys'
	@$(PYTHON) -m venv tests/frameworks/$*/.venv
	@tests/frameworks/$*/.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@if command -v npm >/dev/null 2>&1; then \
		npm ci --prefix tests/frameworks/$* --no-audit --no-fund --loglevel=error && touch $@; \
	else echo 'make: npm is not installed; journeys with web frameworks will be skipped' >&2; fi
