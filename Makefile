# Verbs of this checkout. `make` alone prints them.
SHELL := /bin/sh
PYTHON ?= python3
PY := .venv/bin/python
STATE ?= .headrace
.DEFAULT_GOAL := help
.PHONY: help ready setup demo up down test test-unit e2e test-faults faults-long lint type protos bench bench-quality bench-serving bench-trainer test-cuda bench-cuda sbom screenshots ci

help:
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ready:
	@$(PYTHON) compose/bootstrap.py --quiet

setup: ## Install tools, environment and jars into the checkout
	@$(PYTHON) compose/bootstrap.py

demo: ready ## Replay ML-100k as a living app (ARGS="--events 3000")
	@.venv/bin/headrace demo $(ARGS)

up: ready ## Start the local stack (STATE=.headrace)
	@.venv/bin/headrace up --state $(STATE) $(ARGS)

down: ## End the local stack
	@.venv/bin/headrace down --state $(STATE)

test: ready ## Run every test, the last ones on the real stack
	@$(PY) -m pytest $(ARGS)

test-unit: ready ## Run the tests that start no servers
	@$(PY) -m pytest -m "not stack and not faults and not second_stack" $(ARGS)

e2e: ready ## Run the tests on the real stack
	@$(PY) -m pytest -m "stack and not faults and not second_stack" $(ARGS)

test-faults: ready
	@$(PY) -m pytest -m "" $$($(PY) -m tests.faults.rows --tests) $(ARGS)

faults-long: ready
	@$(PY) tests/faults/long.py --seeds $(or $(SEEDS),1..200) $(ARGS)

lint: ready ## Check style and format
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

type: ready ## Check types
	@.venv/bin/mypy

protos: ready ## Generate the stubs of protos/*.proto again
	@$(PY) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protos/*.proto
	@for stub in protos/*_pb2_grpc.py; do [ $$stub = protos/serving_pb2_grpc.py ] || rm $$stub; done
	@cp protos/serving_pb2.py protos/serving_pb2.pyi compose/client/headrace_client/

bench: ready ## Measure serving and freshness on this machine
	@for script in $(filter-out tests/bench/bench_learning.py,$(wildcard tests/bench/bench_*.py)); do $(PY) $$script $(ARGS) || exit $$?; done

bench-quality: ready
	@$(PY) tests/bench/bench_learning.py $(ARGS)

bench-serving: ready
	@$(PY) tests/bench/bench_serving.py $(ARGS)

test-cuda: # On a bare GPU machine: PYTHON=python3 with its own torch, no .venv of ours.
	@$(PYTHON) tests/cuda/run.py $(ARGS)

bench-cuda:
	@$(PYTHON) tests/cuda/bench.py $(ARGS)

screenshots: ready # Of the dashboard, for the README; ARGS="--endpoints .headrace/endpoints.json" takes a running stack.
	@PYTHONPATH=. $(PY) -m tests.dashboard.screenshots $(ARGS)

bench-trainer: ready
	@$(PY) tests/bench/bench_trainer.py $(ARGS)

sbom: ready
	@.venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json .venv/bin/python

ci: ## What CI runs: clean install, lint, types, every test
	@bash .ci/run
