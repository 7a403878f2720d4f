# make run     train, attack, defend, detect and report on real data (10 to 20 minutes on two cores)
# make quick   the same on few epochs and a part of the images (2 minutes)
# make test    lint, types, tests
# Each sets itself up first: a virtual environment in .venv, and the install.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# A data folder beside the checkout is used if there is one; otherwise robustlab looks in its usual places.
ifneq ($(wildcard ../shared/data),)
export ROBUSTLAB_DATA ?= $(abspath ../shared/data)
endif

.PHONY: run quick test lint types tests format clean

run: $(STAMP)
	$(BIN)/robustlab study recipes/mnist.toml --open

quick: $(STAMP)
	$(BIN)/robustlab study recipes/mnist.toml --quick --open

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP)
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "robustlab needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Setting up .venv (PyTorch is large: a few minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on \
		--editable ".[dev,peers,models,tensorboard]"
	@# Without its dependencies: one of them, visdom, no longer builds, and only its plots need it.
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps adv-lib
	@touch $(STAMP)
