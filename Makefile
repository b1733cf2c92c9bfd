# The verbs of this project. CI and hooks call these and nothing else.
#
# Everything made here lives in .venv and build/; `make clean` removes both. One make at a time works on a
# tree: recipes that write take build/.lock. Stamps make a second run of a verb do only what is left to do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PYTEST_ARGS ?=
BENCH_ARGS ?=

# With the folders, whose time changes when a file goes away.
SOURCES := $(shell find lb setup.py pyproject.toml -not -name '*.pyc' -not -name __pycache__)
SUITES := $(wildcard tests/unit tests/conformance tests/oracle tests/fuzz tests/integration)
LOCK := mkdir -p build && flock build/.lock

# `lb` always comes from the built tree: -P keeps the sources out, for child processes too.
TREE = PYTHONPATH=$(CURDIR)/build/$(1)/lib PYTHONSAFEPATH=1 LB_FLAVOUR=$(1)

.PHONY: help build run test lint format sanitize bench fuzz soak docs clean debug release

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r verb text; do printf '  make %-10s %s\n' "$$verb" "$$text"; done

# ---- environment -------------------------------------------------------------------------------------------

# What pip cannot bring: a C compiler, Python's headers, venv, and PCRE2, which lb can be built without. Looked for first;
# apt only as root.
build/.system: setup.py
	@mkdir -p build
	@missing=""; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v $(PYTHON) >/dev/null || missing="$$missing python3"; \
	if command -v $(PYTHON) >/dev/null; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON): Python 3.11 or newer is needed; set PYTHON=" >&2; exit 1; }; \
	  $(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing="$$missing python3-dev"; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	else missing="$$missing python3-dev python3-venv"; fi; \
	test -e /usr/include/stdio.h || missing="$$missing libc6-dev"; \
	wanted=""; pkg-config --exists libpcre2-8 2>/dev/null || wanted=" pkg-config libpcre2-dev"; \
	pkg-config --exists libcrypto 2>/dev/null || wanted="$$wanted pkg-config libssl-dev"; \
	if [ -z "$$missing" ] && [ -n "$$wanted" ] && ! { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then \
	  echo "without$$wanted lb is built without what needs them (regular expressions, digests); as root: apt-get install$$wanted"; \
	else missing="$$missing$$wanted"; fi; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing </dev/null; \
	  else echo "missing system packages:$$missing; as root: apt-get install$$missing" >&2; exit 1; fi; \
	fi
	@touch $@

# The requirements are written once, in pyproject.toml.
requirements = $(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*($(1)), sep="\n")'

$(VENV)/.runtime: pyproject.toml | build/.system
	@$(LOCK) $(MAKE) _runtime

.PHONY: _runtime _dev _install
_runtime:
	@echo "installing what lb needs into $(VENV)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(call requirements,p["build-system"]["requires"] + p["project"]["dependencies"]) > build/requirements.txt
	@$(PY) -m pip install -q --disable-pip-version-check -r build/requirements.txt </dev/null
	@touch $(VENV)/.runtime

$(VENV)/.dev: $(VENV)/.runtime
	@$(LOCK) $(MAKE) _dev

_dev:
	@echo "installing what tests and lint need into $(VENV)"
	@$(call requirements,p["project"]["optional-dependencies"]["dev"]) > build/requirements-dev.txt
	@$(PY) -m pip install -q --disable-pip-version-check -r build/requirements-dev.txt </dev/null
	@touch $(VENV)/.dev

# ---- build -------------------------------------------------------------------------------------------------

build: $(VENV)/.lb ## make .venv with the release build of lb in it: .venv/bin/lb

$(VENV)/.lb: $(SOURCES) $(VENV)/.runtime
	@$(LOCK) $(MAKE) _install

_install:
	@echo "compiling lb into $(VENV): a minute or two"
	@LB_FLAVOUR=release $(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall . </dev/null
	@touch $(VENV)/.lb

# The trees that tests and benches import. setup.py decides what is stale, by content.
build/debug/.built build/release/.built build/sanitize/.built: build/%/.built: $(SOURCES) $(VENV)/.runtime
	@echo "compiling the $* build: a minute or two when much has changed"
	@$(LOCK) env LB_FLAVOUR=$* $(PY) -W ignore setup.py -q build
	@touch $@

debug: build/debug/.built ## build/debug/lib: invariants checked, fake time, doors for unit tests
release: build/release/.built ## build/release/lib: what users run

run: build ## start lb on conf/demo.yaml with three demo servers behind it
	@$(PY) -P -m lb.demo

# ---- checks ------------------------------------------------------------------------------------------------

# The whole suite comes last, so that its closing line closes the output.
test: build/debug/.built build/release/.built $(VENV)/.dev ## smoke tests on the release build, then the suite on the debug build
	@$(call TREE,release) $(PY) -P -m pytest -q -m smoke $(SUITES) </dev/null
	@$(call TREE,debug) $(PY) -P -m pytest $(SUITES) $(PYTEST_ARGS) </dev/null

lint: $(VENV)/.dev ## ruff, mypy, cython-lint
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@# By name: given a folder, cython-lint skips any path with "build" in it, the checkout's own included.
	@PATH=$(CURDIR)/$(VENV)/bin:$$PATH $(VENV)/bin/cython-lint $$(find lb -name '*.pyx' -o -name '*.pxd')

format: $(VENV)/.dev ## rewrite the Python files the way lint wants them
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

# Leaks are not looked for: CPython keeps much until exit, and pools count their own objects. handle_abort=0: an
# invariant of ours that aborts speaks for itself.
SANITIZED = PYTHONMALLOC=malloc \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_abort=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)"

sanitize: build/sanitize/.built $(VENV)/.dev ## the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call TREE,sanitize) $(SANITIZED) $(PY) -P -m pytest $(SUITES) $(PYTEST_ARGS) </dev/null

bench: build ## measure lb beside HAProxy and nginx (BENCH_ARGS="h1 tcp --rounds 5")
	@$(PY) -m bench $(BENCH_ARGS) </dev/null

fuzz: build/sanitize/.built $(VENV)/.dev ## the parsers' fuzz targets, longer than in the suite (LB_FUZZ_SECONDS a target)
	@$(call TREE,sanitize) $(SANITIZED) LB_FUZZ_SECONDS=$${LB_FUZZ_SECONDS:-60} $(PY) -P -m pytest tests/fuzz $(PYTEST_ARGS) </dev/null

soak: build/debug/.built $(VENV)/.dev ## churn, reload storms, dying servers and workers (LB_SOAK_SECONDS a scenario)
	@$(call TREE,debug) LB_SOAK_SECONDS=$${LB_SOAK_SECONDS:-60} $(PY) -P -m pytest tests/soak $(PYTEST_ARGS) </dev/null

docs: build/release/.built ## write the generated pages of docs/ again
	@$(call TREE,release) $(PY) -P docs/generate.py
	@$(call TREE,release) PYTHONPATH=$(CURDIR)/build/release/lib:$(CURDIR) $(PY) -P -m bench.render

clean: ## remove .venv and build
	@rm -rf .venv build *.egg-info
