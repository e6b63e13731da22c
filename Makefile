# Fairlead: `make` prints what there is. Every target first installs what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
NATIVE := $(PYTHON) -m deploy.native
# Servers need accounts of their own, and their data belongs to those: tests that start them run as root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider --color=auto
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install install-python install-with-tests demo test up down status logs reset check bench migrate

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install:
	@deploy/native/install.sh

install-python:
	@deploy/native/install.sh --python-only

demo: install ## on a bare Debian or Ubuntu machine: install, start, enrol this machine, and tell the whole story of a deployment
	@$(NATIVE) up
	@$(AS_ROOT) $(PYTHON) -m deploy.native.demo

up: install ## start everything and wait until it answers; what runs already is left alone
	@$(NATIVE) up

down: install-python ## stop everything, the agent and an engine of ours included; containers on your own engine go on running
	@$(NATIVE) down

status: install-python ## each program, its memory, and whether the stack is ready
	@$(NATIVE) status

logs: install-python ## follow the logs; PART=deployer-worker for one of them
	@$(NATIVE) logs $(PART)

reset: install-python ## down, and remove all data of the stack, its deployed containers included (.venv stays)
	@$(NATIVE) reset

migrate: install ## bring the databases to the newest shape, whether the stack runs or not
	@$(NATIVE) migrate

check: install-python ## format, lint, types, import rules, and the tests that need no server
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(PYTEST) -q tests/unit tests/contracts tests/architecture

test: install-with-tests ## every test, against real servers that it starts and stops by itself (ARGS="-k word" for some)
	@$(AS_ROOT) $(PYTEST) $(ARGS) tests

install-with-tests:
	@deploy/native/install.sh --with-tests

bench: install-with-tests ## measure, as ratios against alternatives in the same run
	@$(AS_ROOT) $(PYTHON) -m bench $(ARGS)
