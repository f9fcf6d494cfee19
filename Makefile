# nnix: what to do with a fresh clone. `make help` lists the targets.

PYTHON ?= python3
EXAMPLE ?= examples/zhejiang
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up down test lint docs bench lock clean packages run dev
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: packages run ## install what is needed, bring examples/zhejiang up on this machine, sell an hour of its compute
	@$(BIN)/nnix up $(EXAMPLE)
	@[ ! -e $(EXAMPLE)/trade.py ] || $(BIN)/python $(EXAMPLE)/trade.py

down: ## take the exchange down and leave nothing behind
	@if [ -x $(BIN)/nnix ]; then $(BIN)/nnix down; else echo "nothing is installed here, so nothing is up"; fi

test: packages dev lint docs ## install what is needed; formatting, lint, types, layers, documentation, then all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: dev ## formatting, lint, strict types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: dev ## the documentation, into site/
	$(BIN)/mkdocs build --strict --quiet

bench: packages dev ## every claim in bench/, beside the peer it names
	@set -e; for claim in bench/*.py; do [ -e "$$claim" ] || continue; echo "== $$claim"; $(BIN)/python "$$claim"; done

lock: dev ## requirements*.txt anew from requirements*.in, with hashes of every wheel
	packaging/lock.sh

clean: ## caches, the built documentation and .venv
	rm -rf .venv build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +

packages:
	@packaging/install.sh

run:
	@packaging/venv.sh run

dev:
	@packaging/venv.sh dev
