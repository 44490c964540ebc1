# make demo   mine a direction catalogue from the embedded head generator
# make test   the test suite;  make slow: what takes minutes, but for the faults;  make lint: format, lint and types
# make faults datasets whose drivers, workers and nodes are killed, for minutes
# make extras the tests of each pip extra, in an environment that has it alone
# make bench  every benchmark and one table of targets; ARGS=--quick for a first look
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-demo.stamp
READY_DEV := $(VENV)/ready-dev.stamp
ARGS ?=
# as a variable, the pins reach the isolated environment in which pip builds this package too
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

QUICK := not bench and not slow and not gpu and not faults
EXTRAS := mediapipe insightface mediapipe+insightface onnx clip bfm flow

.PHONY: demo test slow faults lint bench extras clean

demo: $(READY)
	$(BIN)/python jobs/mine_directions.py --config jobs/configs/demo.yaml $(ARGS)

# what needs a processor alone runs on two at once; what starts Ray and kills processes has both
test: $(READY_DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "$(QUICK) and not ray" $(ARGS)
	$(BIN)/python -m pytest -m "$(QUICK) and ray" $(ARGS)

slow: $(READY_DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not ray" --ignore=tests/faults $(ARGS)
	$(BIN)/python -m pytest -m "slow and ray" --ignore=tests/faults $(ARGS)

faults: $(READY_DEV)
	$(BIN)/python -m pytest -m "not gpu" tests/faults $(ARGS)

extras: $(READY_DEV)
	for extra in $(EXTRAS); do VENV=$(VENV) .ci/extra $$extra $(ARGS) || exit 1; done

lint: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(READY_DEV)
	$(BIN)/python -m tests.benchmarks.table $(ARGS)

clean:
	rm -rf $(VENV) $(addprefix $(VENV)-,$(EXTRAS)) runs

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(READY_DEV): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[s3,readers,dev]"
	touch $@ $(READY)
