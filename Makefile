# Every target is one verb; the work lives in ci/. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -Eeuo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv/bin

.PHONY: help setup demo fmt generate verify static unit services contract counts faults charts docs test images cluster-build cluster-up cluster-down test-cluster test-gitops test-upgrade check bench release clean

help: ## Print what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: ## Make .venv and install the project with everything for development
	@ci/setup.sh

demo: setup ## Set up, then run the main job on this machine alone: compile a flow, start it with a gateway, call it as a tool
	@ci/demo.sh

fmt: setup ## Format the code
	@$(VENV)/ruff check --fix-only --quiet . ; $(VENV)/ruff format .

generate: setup ## Write anew every file that is made from code
	@ci/generate.sh

verify: setup ## Fail if a file that is made from code is not what generate writes
	@ci/verify.sh

static: setup ## Lint, formatting, types, import contracts
	@ci/static.sh

unit: setup ## Tests of each package beside it, and branch coverage of the pure modules
	@ci/test.sh unit

services: setup ## Install and start the services that tests use (RabbitMQ, an S3-compatible server)
	@ci/services.sh fresh

contract: setup services ## The transports' contract suite, and bad input, over every implementation
	@ci/test.sh contract

counts: setup services ## Exact counts of what a delivery costs
	@ci/test.sh counts

faults: setup services ## Simulation and fault experiments with real processes and a real broker
	@ci/test.sh faults

charts: setup ## Render every chart with both Helms and check what comes out
	@ci/test.sh charts

docs: setup services ## Build the documentation site into build/site; check pages against the code, and run their examples
	@ci/test.sh docs

test: ## Everything that needs this machine alone, static and verify included; sets up and starts services itself
	@ci/test.sh all

images: ## Build the images of all components, from their Dockerfiles
	@ci/images.sh build

cluster-build: ## Build the test cluster's programs: Kubernetes, KEDA and tools, once about 20 minutes; WITH=argocd those of add-ons too
	@python3 ci/cluster/cluster.py build $(addprefix --with=,$(WITH))

cluster-up: ## Start a real Kubernetes on this machine, with KEDA and RabbitMQ; WITH="argocd networkpolicies" adds add-ons
	@python3 ci/cluster/cluster.py up $(addprefix --with=,$(WITH))

cluster-down: ## End it and remove its traces
	@python3 ci/cluster/cluster.py down

test-cluster: setup ## End-to-end stories on a real Kubernetes: builds, starts, tests and ends it
	@ci/test-cluster.sh

test-gitops: setup ## The same with a real Argo CD, its story alone: a flow that only commits deploy
	@ASYA_E2E_ARGOCD=1 ci/test-cluster.sh -k argocd

test-upgrade: setup ## The same with the story of an upgrade from the previous release, alone: needs its commit, builds its images
	@ASYA_E2E_UPGRADE=1 ci/test-cluster.sh -k test_upgrade

check: setup static unit ## Before each commit: static and unit

bench: setup ## Benchmarks against other systems: B=B1,B3 chooses, QUICK=1 shortens
	@ci/bench.sh

release: setup ## Everything that is published, of the commit that is checked out, into dist/VERSION
	@$(VENV)/python -m ci.release make

clean: ## Remove what setup, tests and runs left in the work tree
	@rm -rf .venv .asya .coverage .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
