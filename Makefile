# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo app test lint docs clean

demo: $(VENV)/ready-for-demo  ## explain faces in five paintings; results in demo/
	$(BIN)/chiaroscuro demo --out demo

app: $(VENV)/ready-for-demo  ## the workbench, in the browser
	$(PIP_INSTALL) -e '.[faces,app]'
	$(BIN)/chiaroscuro app

test: $(VENV)/ready-for-test lint  ## everything CI runs
	$(BIN)/python -m pytest -n 2 tests/unit
	$(BIN)/python -m pytest -n 2 tests/adapters tests/methods tests/integration tests/docs

lint: $(VENV)/ready-for-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/ready-for-test  ## the site, in site/
	$(BIN)/sphinx-build -W -b html docs site

clean:
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
# Face detectors of others, for tests: MTCNN pins an old torch that it does not need; dlib's wheel is
# not built for every machine.
	$(PIP_INSTALL) --no-deps facenet-pytorch==2.6.0
	@$(PIP_INSTALL) --no-deps --only-binary :all: dlib-bin==20.0.1.post1 || \
		echo "no wheel of dlib for this machine: its tests will be skipped"
# Ultralytics imports OpenCV, whose desktop build wants libGL, which a bare machine lacks.
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(PIP_INSTALL) --force-reinstall --no-deps opencv-python-headless
# The workbench is tested in a browser: Debian's chromium, or the one there is.
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		apt-get install -qq -y chromium >/dev/null 2>&1 || \
		{ apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } 2>/dev/null || \
		echo "no browser: the workbench's browser tests will be skipped; install chromium"
	@touch $@ $(VENV)/ready-for-demo
