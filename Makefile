# Every target works from a bare clone: it needs Python >= 3.11, make and pip.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo test lint bench clean

help:
	@echo "make demo   train the same network with and without clipping, and compare"
	@echo "make test   ruff, mypy and pytest"
	@echo "make bench  measure what it costs, into benchmarks/RESULTS.md; needs a machine that does nothing else"

install: $(INSTALLED)

# torch comes first and pinned alone, so that a CPU wheel is taken where pip is offered one.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/lightning-clip compare

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2

bench: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build *.egg-info
