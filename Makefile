# Every target works from a bare clone and needs Python >= 3.11, make and pip.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo docs figures claims test test-guests test-parity test-types test-oldest wheel test-wheel test-newcomer test-upstream reliability lint bench clean

help:
	@echo "make demo   train the same network with and without clipping and compare the runs"
	@echo "make test   run ruff, codespell, mypy and pytest"
	@echo "make test-guests  train models of accelerate, darts, neuralforecast, pytorch-forecasting and transformers with our callbacks"
	@echo "make test-parity  compare the strategies with other packages, those of them that can be installed"
	@echo "make test-types   check the public names with mypy and pyright"
	@echo "make test-oldest  test with the oldest versions of torch, Lightning and the other packages that are supported"
	@echo "make test-wheel   build the sdist and from it the wheel, and test the wheel where the source folder is absent"
	@echo "make test-newcomer  install the wheel in an empty environment, and run the commands of the documentation"
	@echo "make test-upstream LIGHTNING_TESTS=<folder>"
	@echo "            run Lightning's own tests (tests/tests_pytorch of a checkout) with our callbacks on every Trainer"
	@echo "make reliability"
	@echo "            run the tests of faults in their long form and write docs/reliability.md"
	@echo "make claims      check what each study shows with other seeds and with the last bit of every weight changed"
	@echo "make lint   run ruff, codespell and mypy"
	@echo "make docs   build the documentation in build/docs; a broken link is an error"
	@echo "make figures"
	@echo "            run the studies in docs/studies.md and draw every picture of the README and the documentation"
	@echo "make bench  measure the overhead and write benchmarks/RESULTS.md; needs an otherwise idle machine"
	@echo "make clean  delete the virtual environment and build files"

install: $(INSTALLED)

# torch is installed first and alone, so that pip takes a CPU wheel if an index offers one.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/lightning-clip compare

# Each study in its smallest form that decides its claims.
claims: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/studies/test_perturbed_claims.py

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy tests/typing

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The studies continue where they were interrupted, in runs/figures. Two pictures need Keras. A picture that would look
# the same is left alone.
figures: export OMP_NUM_THREADS = 1
figures: $(INSTALLED)
	$(BIN)/python docs/report_picture.py
	$(BIN)/python docs/strategy_pictures.py
	$(BIN)/python docs/run_pictures.py
	$(BIN)/python docs/study_pictures.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt keras || true
	if $(BIN)/python -m pip show --quiet keras; then KERAS_BACKEND=torch $(BIN)/python docs/keras_pictures.py; fi

# Compiled files are kept even where PYTHONDONTWRITEBYTECODE is set: to compile all tests takes each process seconds.
test: lint docs
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2

# A package that cannot be installed is skipped, and so are its tests. timm would ask for a torchvision.
test-parity: $(INSTALLED)
	for package in zclip pytorch_optimizer keras "optax jax" "--no-deps timm"; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $$package || true; \
	done
	$(BIN)/python -m pytest tests/parity

# Other people's projects, each in an environment of its own in build/guests: their dependencies need not agree.
test-guests: $(patsubst %,build/guests/%/.trained,accelerate darts neuralforecast pytorch_forecasting transformers)

build/guests/%/.trained: FORCE
	test -x build/guests/$*/bin/python || $(PYTHON) -m venv build/guests/$*
	build/guests/$*/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	build/guests/$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . $* $(if $(filter transformers,$*),accelerate)
	build/guests/$*/bin/python -m tests.guests.with_$*

FORCE:

# The second type checker, and the Node.js that it needs, weigh 250 MB.
test-types: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pyright[nodejs]"
	$(BIN)/mypy tests/typing
	$(BIN)/pyright --pythonpath $(BIN)/python tests/typing

# The oldest versions that pyproject.toml allows, in an environment of their own.
test-oldest:
	test -x build/oldest/bin/python || $(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt --editable ".[plot]" pytest pytest-xdist psutil
	build/oldest/bin/python -m pytest -n 2 -W default -k "not loky and not dask and not ray" tests/callbacks tests/cli tests/contract tests/core tests/functional tests/modules tests/sinks tests/strategies

# The wheel is built from the sdist, not in this folder, where build/lib keeps files that have been deleted since.
wheel: $(INSTALLED)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build --outdir build/wheel . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }

# The wheel, installed where the source folder is not: the tests run against it.
test-wheel: wheel
	rm -rf build/installed && mkdir -p build/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/installed build/wheel/*.whl
	$(BIN)/python -m tests.support.installed build/installed

# A newcomer's first ten minutes: the wheel, in an environment of its own and an empty folder.
test-newcomer: wheel
	rm -rf build/newcomer && mkdir -p build/newcomer/empty
	$(PYTHON) -m venv build/newcomer/venv
	build/newcomer/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch build/wheel/*.whl
	cd build/newcomer/empty && ../venv/bin/python $(CURDIR)/tests/newcomer/walk.py

test-upstream: $(INSTALLED)
	$(BIN)/python -m tests.support.upstream "$(LIGHTNING_TESTS)"

reliability: $(INSTALLED)
	$(BIN)/python -m tests.support.reliability -n 2

# The packages of other authors that ours are timed beside; a row of one that cannot be installed is left out.
bench: $(INSTALLED)
	for package in zclip autoclip; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$package || true; \
	done
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build *.egg-info
