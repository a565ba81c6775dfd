# `make demo` and `make test` set everything up in .venv; nothing outside this folder is touched, but that `make test`
# installs Debian's chromium and postgresql where it runs as root and finds none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q

.DELETE_ON_ERROR: # So that no half-made .venv is taken for a whole one.
.PHONY: demo test browser postgres lint bench texts picture lock clean

# TensorFlow for GPUs does all that the one for CPUs does, so the demo is content with either.
demo: $(if $(wildcard $(VENV)/.gpu),$(VENV)/.gpu,$(VENV)/.cpu)
	$(BIN)/retrainbot demo $(if $(ONCE),--once) $(if $(FRESH),--fresh) $(if $(PORT),--port $(PORT))

test: lint browser postgres
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The web chat is tested in a real browser. Where there is none to be had, its tests are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && echo "Installing chromium for the tests ..." && apt-get -qq update >/dev/null \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	|| echo "NO BROWSER: the tests of the web chat will be skipped. Install one: apt-get install chromium"

# What is stored is tested on PostgreSQL, too. Where it is not to be had, those tests are skipped, and say so.
postgres:
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && echo "Installing postgresql for the tests ..." && apt-get -qq update >/dev/null \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null; } \
	|| echo "NO POSTGRESQL: the tests of it will be skipped. Install it: apt-get install postgresql"

# Brings the catalogues of texts up to date with the code.
texts: $(VENV)/.dev
	$(BIN)/python tests/catalogue.py zh

# Draws the README's picture of the chat anew.
picture: $(VENV)/.dev
	$(BIN)/python docs/chat.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Retrainbot needs Python 3.11, 3.12 or 3.13, for which TensorFlow is made; set PYTHON=python3.13")'
	@$(PYTHON) -m venv $(VENV)

# The two builds of TensorFlow share a folder, so one goes before the other comes: $(1) the package, $(2) its stamps.
swap = $(if $(wildcard $(2:%=$(VENV)/.%)),$(PIP) uninstall -y $(1) && rm -f $(2:%=$(VENV)/.%))

# A stamp a requirements file; the project itself is installed once, in place.
$(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "Installing $< into $(VENV) (about 1.5 GB, once) ..."
	@$(if $(filter gpu,$*),$(call swap,tensorflow-cpu,cpu dev bench),$(if $(filter cpu dev bench,$*),$(call swap,tensorflow,gpu)))
	@$(PIP) install --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Re-pins every requirement; needs `uv` on the path. Addresses are left out of the files on purpose.
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header -q
lock:
	$(LOCK) --extra cpu --extra dev --extra bench -o requirements/bench.txt
	$(LOCK) --extra cpu --extra dev -c requirements/bench.txt -o requirements/dev.txt
	$(LOCK) --extra cpu --extra build -c requirements/bench.txt -o requirements/cpu.txt
	$(LOCK) --extra gpu --extra build -c requirements/bench.txt -o requirements/gpu.txt
	$(LOCK) --extra heic --extra build -c requirements/bench.txt -o requirements/heic.txt

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
