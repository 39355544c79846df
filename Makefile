# Every target sets itself up: a virtual environment in .venv with the versions pinned in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PEERS := $(VENV)/peers

.PHONY: demo test lint test-gpu bench clean

demo: $(READY)  ## faces into animals and back, on drawn pictures
	$(BIN)/python experiments/celeba_to_afhq.py

test: lint $(READY)  ## everything that must hold: style, types, examples, tests
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

bench: $(PEERS)  ## time and memory beside the naive loop and beside other libraries; half an hour, into experiments/results
	$(BIN)/python experiments/bench/degradations.py
	$(BIN)/python experiments/bench/training.py
	$(BIN)/python experiments/bench/sampling.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about two minutes, 5.6 GB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
