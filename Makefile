# `make demo` and `make test` set everything up in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q

.PHONY: demo test lint bench texts lock clean

demo: $(VENV)/.cpu
	$(BIN)/retrainbot demo $(if $(ONCE),--once) $(if $(FRESH),--fresh) $(if $(PORT),--port $(PORT))

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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
