# make demo   mine a direction catalogue from the embedded head generator
# make test   the test suite;  make slow: what takes minutes;  make lint: format, lint and types
# make bench  quality and speed of the embedded head
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-demo.stamp
READY_DEV := $(VENV)/ready-dev.stamp
ARGS ?=
# as a variable, the pins reach the isolated environment in which pip builds this package too
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: demo test slow lint bench clean

demo: $(READY)
	$(BIN)/python jobs/mine_directions.py --config jobs/configs/demo.yaml $(ARGS)

test: $(READY_DEV)
	$(BIN)/python -m pytest $(ARGS)

slow: $(READY_DEV)
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(READY_DEV)
	$(BIN)/python tests/benchmarks/head_quality.py $(ARGS)

clean:
	rm -rf $(VENV) runs

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(READY_DEV): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[s3,readers,dev]"
	touch $@ $(READY)
