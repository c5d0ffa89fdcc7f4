# A newcomer needs two of these: `make demo` and `make test`. Each builds .venv first where it is missing.
#
#   make demo          a small real run on data that the program makes itself
#   make test          the tests, without those marked slow
#   make test-slow     the slow ones: long trainings, the notebooks, the wheel
#   make test-browser  the label page in a real browser; needs Chromium (apt-get install chromium)
#   make check         ruff, ruff format --check, mypy
#   make format        let ruff mend what it can
#   make install       .venv alone, with every package as pinned in requirements.lock
#   make wheel         dist/fewshot-*.whl
#   make models        train the models in the box again (about an hour)
#   make bench         second-order MAML against PyTorch and JAX; builds an environment for the peers
#   make lock          choose the newest versions again (needs uv)
#   make clean         remove .venv and everything built
#
# PYTHON=python3.12 chooses an interpreter (3.11 to 3.13); WORKERS=4 runs the tests in four processes.

PYTHON ?=
WORKERS ?= 2
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_QUIET := $(PIP) install --quiet --no-deps --no-build-isolation

# The test processes share the machine: one computing thread each, and what Python compiled once. A file's tests stay in one process, so that what they
# share is made once.
TEST_ENV := PYTHONDONTWRITEBYTECODE= TF_CPP_MIN_LOG_LEVEL=2 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=2 OMP_NUM_THREADS=1

.PHONY: help demo test test-slow test-browser check format install wheel models bench lock clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

demo: $(INSTALLED)
	@TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/fewshot demo

test: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow and not browser" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What drives the browser is 50 MB that nothing else needs: it is installed here, not by `make install`.
test-browser: $(INSTALLED)
	@$(PIP_QUIET) -r tests/browser/requirements.txt
	$(TEST_ENV) $(BIN)/python -m pytest -m browser tests/browser

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

wheel: $(INSTALLED)
	$(BIN)/python -m build --wheel --no-isolation

# Trained anew, measured, and exported to the box.
models: $(INSTALLED)
	$(BIN)/fewshot train earth-points --out runs/earth-points
	$(BIN)/fewshot evaluate runs/earth-points --split validation --tasks 100
	$(BIN)/fewshot train earth-patches --out runs/earth-patches
	$(BIN)/fewshot evaluate runs/earth-patches --tasks 300
	rm -rf fewshot/exported/box/earth-points fewshot/exported/box/earth-patches
	$(BIN)/fewshot export runs/earth-points --to fewshot/exported/box
	$(BIN)/fewshot export runs/earth-patches --to fewshot/exported/box

bench: $(INSTALLED)
	$(BIN)/python benchmarks/meta_step.py

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv" >&2; exit 1; }
	@sed -n '1p' requirements.lock > requirements.lock.new
	uv pip compile pyproject.toml --universal --extra dev --python-version 3.11 --fork-strategy fewest \
		--upgrade --no-header --quiet >> requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache benchmarks/.peers

# The builders come first, from the lock too, so that no package is built with a version that happens to be new.
$(INSTALLED): pyproject.toml requirements.lock
	@$(BIN)/python -c '' 2>/dev/null || { $(MAKE_VENV); }
	@echo "Installing the pinned packages into .venv (about 2 GB; some minutes the first time) ..."
	@sed -n '/^\(hatchling\|packaging\|pathspec\|pluggy\|setuptools\|trove-classifiers\|wheel\)==/p' requirements.lock \
		> .venv/builders.txt
	@$(PIP_QUIET) -r .venv/builders.txt
	@$(PIP_QUIET) -r requirements.lock
	@$(PIP_QUIET) --editable .
	@$(PIP) check
	@touch $@

# Finds an interpreter that TensorFlow has wheels for, and makes .venv with whatever this system offers for it:
# venv, or where Debian has left out ensurepip: virtualenv, uv, pip's own way into another environment, or, for root
# (a fresh container), Debian's package of it.
define MAKE_VENV
set -eu; \
suits() { "$$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }; \
found=; \
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
  if suits "$$python"; then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
  have=$$($(or $(PYTHON),python3) --version 2>/dev/null || echo "no $(or $(PYTHON),python3)"); \
  echo "fewshot needs Python 3.11, 3.12 or 3.13 (TensorFlow 2.21 has no others); this system has $$have." >&2; \
  echo "Install one of them, for example:  sudo apt install python3 python3-venv" >&2; \
  echo "or name one that is elsewhere:     make install PYTHON=/path/to/python3.12" >&2; \
  exit 1; \
fi; \
rm -rf .venv; \
echo "Building .venv with $$($$found --version) ..."; \
if "$$found" -m venv .venv >/dev/null 2>&1; then :; \
elif rm -rf .venv; "$$found" -m virtualenv --quiet .venv >/dev/null 2>&1; then :; \
elif rm -rf .venv; uv venv --quiet --seed --python "$$found" .venv >/dev/null 2>&1; then :; \
elif rm -rf .venv; "$$found" -m venv --without-pip .venv >/dev/null 2>&1 \
  && "$$found" -m pip --python .venv/bin/python install --quiet pip >/dev/null 2>&1; then :; \
elif rm -rf .venv; [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
  && echo "Installing python3-venv, which this system's Python lacks ..." \
  && { apt-get update -qq && apt-get install -qq -y python3-venv; } >/dev/null 2>&1 \
  && "$$found" -m venv .venv >/dev/null 2>&1; then :; \
else \
  rm -rf .venv; \
  version=$$("$$found" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
  echo "$$found cannot make a virtual environment: Debian and Ubuntu ship that part on its own." >&2; \
  echo "Install it and try again:  sudo apt install python3-venv   (or $$version-venv)" >&2; \
  exit 1; \
fi
endef
