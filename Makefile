# `make demo` and `make test` set everything up in .venv; nothing outside this folder is touched, but that `make test`
# installs Debian's postgresql where it runs as root and finds none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q

.PHONY: demo test postgres lint bench texts lock clean

demo: $(VENV)/.cpu
	$(BIN)/retrainbot demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: lint postgres
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is stored is tested on PostgreSQL, too. Where it is not to be had, those tests are skipped, and say so.
postgres:
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && echo "Installing postgresql for the tests ..." && apt-get -qq update >/dev/null \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null; } \
	|| echo "NO POSTGRESQL: the tests of it will be skipped. Install it: apt-get install postgresql"

# Brings the catalogues of texts up to date with the code.
texts: $(VENV)/.dev
	$(BIN)/python tests/catalogue.py zh

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Retrainbot needs Python 3.11 or newer; set PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

# A stamp a requirements file; the project itself is installed once, in place.
$(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "Installing $< into $(VENV) (about 1.5 GB, once) ..."
	@$(if $(filter gpu,$*),$(PIP) uninstall -y tensorflow-cpu) # The two builds of TensorFlow share a folder.
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
