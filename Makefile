# `make demo` and `make test` need Python 3.11 or newer and make, nothing else. Without make (Windows):
# docs/install.md has the same commands.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo app test lint docs clean

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r call what; do printf '%-12s %s\n' "$$call" "$$what"; done

demo: $(VENV)/ready-for-demo  ## explain faces in five paintings; results in demo/
	$(BIN)/chiaroscuro demo --out demo

app: $(VENV)/ready-for-demo  ## open the workbench in the browser
	$(PIP_INSTALL) -e '.[faces,app]'
	$(BIN)/chiaroscuro app

test: $(VENV)/ready-for-test lint  ## run every check and test, as CI does
	$(BIN)/python -m pytest -n 2 tests/unit
	$(BIN)/python -m pytest -n 2 tests/adapters tests/methods tests/integration tests/docs

lint: $(VENV)/ready-for-test  ## run ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/ready-for-test  ## build the documentation site in site/
	$(BIN)/sphinx-build -W -b html docs site

clean:  ## remove .venv, site and demo
	rm -rf $(VENV) site demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "chiaroscuro needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready-for-demo: pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) -e '.[faces]'
	@touch $@

$(VENV)/ready-for-test: pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) -e '.[all,ultralytics,docs,test]'
# Face detectors from other packages, for tests. MTCNN pins an old torch that it does not need. There
# is no dlib wheel for some machines.
	$(PIP_INSTALL) --no-deps facenet-pytorch==2.6.0
	@$(PIP_INSTALL) --no-deps --only-binary :all: dlib-bin==20.0.1.post1 || \
		echo "no wheel of dlib for this machine: its tests are skipped"
# Ultralytics imports OpenCV, whose desktop build needs libGL, which a machine without a screen lacks.
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(PIP_INSTALL) --force-reinstall --no-deps opencv-python-headless
# The workbench is tested in a browser: an installed one, else Debian's chromium.
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		apt-get install -qq -y chromium >/dev/null 2>&1 || \
		{ apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } 2>/dev/null || \
		echo "no browser: the workbench's browser tests are skipped; install chromium"
	@touch $@ $(VENV)/ready-for-demo
