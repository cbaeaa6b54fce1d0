# Each target sets up what it needs in .venv by itself: Python 3.11+ and make are enough.
#   make test PYTHON=/path/to/python3.12    another Python for a new .venv
#   make lint BIN=/path/to/env/bin          an environment of your own, used as it is

VENV := .venv
PEERS := .venv-peers
LOWEST := .venv-lowest
ZOO := .venv-zoo
PAGE := .venv-page
ifdef BIN
HOST :=
DEV :=
else
BIN := $(VENV)/bin
HOST := $(VENV)/.host
DEV := $(VENV)/.dev
endif

PY := $(BIN)/python
# The files in requirements/ are complete (tests/meta/test_requirements.py): nothing is resolved here, so that a release of
# tomorrow changes nothing. Modules are compiled when first imported: compiling all of torch here would take a minute.
INSTALL := -m pip install --disable-pip-version-check --no-compile --no-deps
PINNED := $(INSTALL) --require-hashes -r
EDITABLE := $(INSTALL) --quiet --no-build-isolation --editable .
CHECK := -m pip check --disable-pip-version-check
# As many test files beside each other as there are cores, four at most: each process imports torch anew.
BESIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
PINS := $(BIN)/uv pip compile --quiet --no-header --universal --generate-hashes --no-emit-index-url \
	--exclude-newer "1 week" --upgrade

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow test-peers test-lowest test-gpu check-zoo check-page check-aarch64 cov check fmt \
	lint type arch build bench bench-attacks bench-verify bench-distill bench-ablation pins clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(DEV)  ## install all that development needs, and the git hooks
	-$(BIN)/pre-commit install --hook-type pre-commit --hook-type pre-push

demo: $(HOST)  ## every step on the embedded data, a few minutes
	$(BIN)/edgerkd demo
	@test ! -f $(BIN)/activate || echo 'next: . $(BIN)/activate   (puts the command edgerkd on your path)'

test: $(DEV)  ## the tests, without the slow ones and those for a GPU
	$(PY) -m pytest $(BESIDE)

test-slow: $(DEV)  ## the slow tests, which need more than two to three seconds each, and the whole road
	$(PY) -m pytest --run-slow -m slow

test-peers: $(PEERS)/.ready  ## the attacks beside torchattacks, foolbox and pyautoattack, which have an environment of their own
	$(PEERS)/bin/python -m pytest --run-peers tests/peers

test-lowest: $(DEV) $(LOWEST)/.ready  ## the device half on the lowest versions that pyproject.toml declares
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider -W default tests/device tests/report
	$(PY) -m pytest --device-packages $(LOWEST)/lib/python*/site-packages tests/packaging/test_device.py

test-gpu: $(DEV)  ## the tests for a GPU; fails where none of them ran
	$(PY) -m pytest --run-gpu -m gpu

check-zoo: $(ZOO)/.ready  ## the twins of published networks against float64 autograd (docs/zoo.md), an hour; ARGS="--only VGG"
	$(ZOO)/bin/python bench/zoo.py --out docs/zoo.md $(ARGS)

check-page: $(PAGE)/.ready  ## the pages in headless Chromium, with axe-core and pictures in build/page; ARGS="FILE..." for others
	$(if $(ARGS),,PYTHONPATH=. $(PY) bench/sample_pages.py build/page)
	$(PAGE)/bin/python bench/check_page.py $(or $(ARGS),build/page/*.html)

check-aarch64: $(DEV)  ## the wheel on emulated aarch64 beside this machine, and the size of an install; needs apt
	$(PY) bench/install_size.py
	$(PY) bench/aarch64.py

cov: $(DEV)  ## the tests with their coverage, half as long again; line by line in build/coverage/index.html
	$(PY) -m pytest --cov $(BESIDE) --cov-report=html:build/coverage

check: lint type arch  ## before each commit: linters, types, contracts and the quick tests
	$(PY) -m pytest --quiet tests/unit tests/report tests/exporters tests/meta

fmt: $(DEV)  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: $(DEV)  ## ruff and the spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

type: $(DEV)  ## pyright
	$(BIN)/pyright --pythonpath $(PY)

arch: $(DEV)  ## who may import whom
	$(BIN)/lint-imports --no-logo

build: $(DEV)  ## wheel and sdist in dist/, and the tests of what they hold
	rm -rf dist
	$(PY) -m hatchling build
	$(PY) -m pytest tests/packaging

bench: $(HOST)  ## start-up, demo and the memory of verify, measured here (docs/measured/start-up.md)
	$(PY) bench/startup.py
	rm -rf build/bench
	$(PY) bench/demo.py --keep build/bench
	$(PY) bench/verify_memory.py build/bench/runs/latest/bundle

bench-attacks: $(PEERS)/.ready  ## the attacks against torchattacks, foolbox and pyautoattack; ARGS="--weights FILE --data cifar10"
	$(PEERS)/bin/python bench/attacks.py pgd $(ARGS)
	$(PEERS)/bin/python bench/attacks.py ensemble $(ARGS)

bench-verify: $(PEERS)/.ready  ## verify --full of a bundle beside pyautoattack on its student; ARGS="runs/latest -n 200"
	$(PEERS)/bin/python bench/verify_peer.py $(or $(ARGS),runs/latest)

bench-ablation: $(HOST)  ## MixACM part by part, over seeds; a stopped study goes on
	OMP_NUM_THREADS=1 $(PY) bench/study.py bench/plans/ablation.toml $(ARGS)
	$(PY) bench/study_table.py docs/measured/ablation.json

bench-distill: $(HOST)  ## a training step against a plain published loop; ARGS="--weights FILE --data cifar10"
	$(PY) bench/distill.py $(ARGS)

pins: $(DEV)  ## solve the requirement files anew, each package at least a week old
	$(PINS) --python-version 3.10 pyproject.toml requirements/device.in --extra ort --extra sign -o requirements/device.txt
	$(PINS) --python-version 3.11 pyproject.toml requirements/build.in --extra host --extra ort --extra sign \
	  -c requirements/device.txt -c requirements/pair.in -o requirements/host.txt
	$(PINS) --python-version 3.11 pyproject.toml requirements/build.in --extra host --extra ort --extra sign --extra dev \
	  -c requirements/host.txt -o requirements/dev.txt
	$(PINS) --python-version 3.11 pyproject.toml --extra peers -c requirements/dev.txt -o requirements/peers.txt
	$(PINS) --python-version 3.11 pyproject.toml requirements/zoo.in -c requirements/dev.txt -o requirements/zoo.txt
	$(PINS) --python-version 3.11 requirements/page.in -o requirements/page.txt
	$(PINS) --python-version 3.11 --resolution lowest-direct pyproject.toml requirements/lowest.in requirements/build.in \
	  --extra ort --extra sign -o requirements/lowest.txt

clean:  ## remove what builds and tests leave; .venv stays
	rm -rf build dist .coverage .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; $$python -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; exit 0; fi; done; \
	echo "edgerkd's development needs Python 3.11 or newer; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1

$(VENV)/.host: requirements/host.txt pyproject.toml | $(VENV)/bin/python
	$(PY) $(PINNED) $<
	$(PY) $(EDITABLE)
	$(PY) $(CHECK)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PY) $(PINNED) $<
	$(PY) $(EDITABLE)
	$(PY) $(CHECK)
	@touch $(VENV)/.host $@

# The peers want old versions of what others want new: an environment of their own, on top of .venv, which brings torch.
$(PEERS)/.ready: requirements/peers.txt $(DEV)
	$(PY) -m venv --clear $(PEERS)
	$(PY) -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	  >$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth
	$(PEERS)/bin/python $(PINNED) $<
	$(PEERS)/bin/python $(CHECK)
	@touch $@

# Networks by timm, on top of .venv as well.
$(ZOO)/.ready: requirements/zoo.txt $(DEV)
	$(PY) -m venv --clear $(ZOO)
	$(PY) -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	  >$$($(ZOO)/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth
	$(ZOO)/bin/python $(PINNED) $<
	$(ZOO)/bin/python $(CHECK)
	@touch $@

# A browser's driver and axe-core, with nothing of ours; the browser itself is the system's.
$(PAGE)/.ready: requirements/page.txt $(DEV)
	$(PY) -m venv --clear $(PAGE)
	$(PAGE)/bin/python $(PINNED) $<
	$(PAGE)/bin/python $(CHECK)
	@touch $@

$(LOWEST)/.ready: requirements/lowest.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python $(PINNED) $<
	$(LOWEST)/bin/python $(EDITABLE)
	$(LOWEST)/bin/python $(CHECK)
	@touch $@
