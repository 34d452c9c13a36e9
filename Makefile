# Everything runs in .venv, which `make setup` prepares on a bare Debian 12 (as root).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo lab test test-unit docs lint clean

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
TOPO ?= four_edge
# more arguments for pytest, as in: make test ARGS="-k firewall -x"
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages, .venv, a running Open vSwitch
	@scripts/setup.sh

demo: setup ## figures 3 and 4 of the white paper with real packets
	$(PYTHON) -m topologies.demo

lab: setup ## a lab with a command line: make lab TOPO=four_edge
	$(PYTHON) -m topologies.run $(TOPO)

test: setup ## all tests, also those with real switches and real traffic
	$(PYTEST) $(ARGS)

test-unit: setup ## the fast tests
	$(PYTEST) tests/unit tests/property $(ARGS)

docs: setup ## write the generated pages: pipeline and JSON Schema of the gateway file
	$(PYTHON) -m controller.pipeline.document > docs/pipeline.md.new
	mv docs/pipeline.md.new docs/pipeline.md
	$(PYTHON) -m controller.model.schema

lint: setup ## style
	.venv/bin/ruff check --line-length 120 --target-version py311 --select E,F,W,I,B controller topologies mininet tests

clean: ## remove .venv and what was built
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
