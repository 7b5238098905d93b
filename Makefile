# Everything a newcomer does with this repository, by name. `make` alone prints the list.
#
# Environments, packages and builds are files with stamps: a target sets up what it needs and does
# not redo what has not changed. Everything lands under .local/, web/node_modules and web/dist.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

WORKERS ?= 1
STACK ?= chatcore
PYTEST_ARGS ?=
export SAM_CLI_TELEMETRY := 0
export UV_PYTHON_DOWNLOADS := never

VENVS := .local/venvs
# Set for these commands only: a Lambda of the local cloud must find its code in its layers.
PY := PYTHONPATH=.:layers/chatcore $(VENVS)/dev/bin/python
UV := $(VENVS)/boot/bin/uv
# Wheels only; localstack-client is published as source alone, so what builds it is locked too.
PACKAGE_FLAGS := --only-binary :all: --no-binary localstack-client
LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes $(PACKAGE_FLAGS) \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
# What the Lambda runtime brings stays out of the dependencies layer.
LAMBDA_PACKAGES := boto3 botocore jmespath python-dateutil s3transfer six urllib3

VOCABULARY := gpu_service/vocabulary/node_modules/tiktoken/encoders/o200k_base.json
WEB_PACKAGES := web/node_modules/.package-lock.json
WEB_PAGE := web/dist/index.html
DOCKERFILES := gpu_service/Dockerfile gpu_service/triton/Dockerfile
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*')
SETUP := $(VENVS)/dev/.ready $(VENVS)/ministack/.ready $(VENVS)/sam/.ready \
	$(VENVS)/triton/.ready $(VOCABULARY) $(WEB_PAGE)

# Cheap ones first; one pytest run, so that its closing line speaks for all of them.
TESTS := $(wildcard $(addprefix tests/,unit contract template simulation compat integration e2e))
TEMPLATES := $(wildcard template.yaml */template.yaml) security/page_firewall.yaml
TYPED := $(wildcard chat functions gpu_service deploy local bench virtual_clock tests) layers/chatcore/chatcore

.PHONY: help
help:
	@echo 'make run         start the whole cloud on this machine (WORKERS=n GPU workers); Ctrl-C ends it'
	@echo 'make chat        chat in the terminal with what runs (ARGS="list", "resume", "--help")'
	@echo 'make watch       what the fleet does, live in the terminal, beside make run (ARGS=--once)'
	@echo 'make demo        users who flood, follow up and drop in, for a minute (ARGS="--seconds 120")'
	@echo 'make test        all tests, from unit to browser (PYTEST_ARGS="-k send" for some of them)'
	@echo 'make test-aws    those tests that a deployed stack can be given (STACK=its name), by its outputs'
	@echo 'make simulate    worlds of clients, services and workers in which all goes wrong (SEEDS=n, SEED=n)'
	@echo 'make check       lint, formatting, strict types, import rules, template checks, static scan'
	@echo 'make audit       known holes of the locked packages (asks PyPI and the npm registry)'
	@echo 'make setup       only what `make run` needs: environments, packages, web build'
	@echo 'make publish     the web page into the bucket of a deployed stack (STACK=its name)'
	@echo 'make images      build the images of the GPU fleet with Docker (see docs/fleet.md)'
	@echo 'make lock        bring the lock files in line with the .in files (UPGRADE=1 renews all pins)'
	@echo 'make bench-ttft  measure the time to first token, hop by hop (FULL=1: more prompts)'
	@echo 'make bench-cost  what a prompt costs in AWS calls and in dollars (DATA=trace, FULL=1: longer answers)'
	@echo 'make bench-cancel  from a stop to the free slot (FULL=1: more of them)'
	@echo 'make bench-resume  viewers who drop out and come back (FULL=1: more of them)'
	@echo 'make bench-crash  workers killed in mid-answer (FULL=1: more of them)'
	@echo 'make bench-flood  what a user who never pauses does to the others (FULL=1: longer)'
	@echo 'make bench-stream  frames and quality of streamed answers (DATA=trace, FULL=1: all of it)'
	@echo 'make bench-client  weight and pace of the page, a reconnect storm (DATA=trace, SUITE=one, FULL=1)'
	@echo 'make bench-scheduling  policies side by side on traces (DATA=their folder, SUITE=one, FULL=1)'
	@echo 'make bench-context  what comes back into a long chat (DATA=its folder, SUITE=one, FULL=1)'
	@echo 'make scale       200 million daily users on paper: cells, quotas, a day in dollars'
	@echo 'make bench-worker  streams that one worker carries on one core (FULL=1: longer trials)'
	@echo 'make clean       remove environments, builds and the kept data of the local cloud'

.PHONY: run
run: $(SETUP)
	@$(PY) -m local run --workers $(WORKERS)

.PHONY: chat
chat: $(VENVS)/dev/.ready
	@$(PY) -m chat $(ARGS)

.PHONY: watch demo
watch demo: $(VENVS)/dev/.ready
	@$(PY) -m local $@ $(ARGS)

.PHONY: setup
setup: $(SETUP)

.PHONY: test
test: $(SETUP)
	@echo '==> Unit tests of the web page'
	@cd web && npm test --silent
	@echo '==> Tests: $(TESTS)'
	@$(PY) -m pytest $(TESTS) $(PYTEST_ARGS)

# STACK has to be named: these tests leave people, chats and usage behind.
.PHONY: test-aws
test-aws: $(VENVS)/dev/.ready
	@$(if $(filter file,$(origin STACK)),\
		echo 'Name the stack to test: make test-aws STACK=…' >&2; exit 2)
	@$(PY) -m pytest tests/integration tests/e2e --stack $(STACK) $(PYTEST_ARGS)

.PHONY: simulate
simulate: $(VENVS)/dev/.ready
	@$(PY) -m tests.simulation $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS)))

.PHONY: check
check: $(VENVS)/dev/.ready $(VENVS)/sam/.ready $(VENVS)/scan/.ready $(VENVS)/images/.ready \
		$(WEB_PACKAGES)
	@echo '==> Lint and formatting'
	@$(VENVS)/dev/bin/ruff check .
	@$(VENVS)/dev/bin/ruff format --check .
	@echo '==> Strict types'
	@$(PY) -m mypy $(TYPED)
	@echo '==> Import rules'
	@PYTHONPATH=.:layers/chatcore $(VENVS)/dev/bin/lint-imports --no-cache
	@echo '==> Templates'
	@AWS_DEFAULT_REGION=us-east-1 $(VENVS)/sam/bin/sam validate --lint --template-file template.yaml
	@AWS_DEFAULT_REGION=us-east-1 $(VENVS)/sam/bin/cfn-lint $(filter-out template.yaml,$(TEMPLATES))
	@echo '==> Static scan of the templates'
	@$(VENVS)/scan/bin/checkov --config-file .checkov.yaml --file $(TEMPLATES)
	@$(PY) -m deploy.console --check
	@echo '==> Images'
	@$(VENVS)/images/bin/hadolint $(DOCKERFILES)
	@echo '==> API documents'
	@$(PY) -m local.api_documents --check
	@cd web && npm run --silent generate -- --check
	@echo '==> Numbers of docs/scale.md'
	@$(PY) -m bench.scale --check
	@echo '==> Types of the web page'
	@cd web && npm run --silent typecheck

# Not part of the checks: it asks others, and what they answer changes by the day.
.PHONY: audit
audit: $(VENVS)/scan/.ready $(WEB_PACKAGES)
	@bad=; for lock in $(wildcard requirements/*.txt) layers/dependencies/requirements.txt; do \
		echo "==> $$lock"; \
		$(VENVS)/scan/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
			--requirement $$lock || bad="$$bad $$lock"; \
	done; \
	for folder in web gpu_service/vocabulary; do \
		echo "==> $$folder/package-lock.json"; \
		(cd $$folder && npm audit) || bad="$$bad $$folder/package-lock.json"; \
	done; \
	if [ -n "$$bad" ]; then \
		echo "Look above at$$bad: a hole is known there, or nobody could be asked, which says nothing."; \
		exit 1; \
	fi

.PHONY: publish
publish: $(VENVS)/dev/.ready $(WEB_PAGE)
	@$(PY) -m deploy.page --stack $(STACK)

# The digests of the base images, as `docker buildx imagetools inspect` tells them, so that an image is
# what somebody has looked at; TRITON_REPOSITORY is NVIDIA's, without a tag.
.PHONY: images
images:
	$(if $(and $(PYTHON_DIGEST),$(NODE_DIGEST),$(TRITON_REPOSITORY),$(TRITON_DIGEST)),,$(error \
		make images PYTHON_DIGEST=sha256:... NODE_DIGEST=sha256:... TRITON_REPOSITORY=... \
		TRITON_DIGEST=sha256:...))
	docker build --platform linux/amd64 --file gpu_service/Dockerfile --tag chatcore-worker \
		--build-arg PYTHON_DIGEST=$(PYTHON_DIGEST) --build-arg NODE_DIGEST=$(NODE_DIGEST) .
	docker build --platform linux/amd64 --file gpu_service/triton/Dockerfile --tag chatcore-triton \
		--build-arg TRITON_REPOSITORY=$(TRITON_REPOSITORY) --build-arg TRITON_DIGEST=$(TRITON_DIGEST) .

.PHONY: bench-ttft bench-cancel bench-resume bench-crash bench-flood
bench-ttft bench-cancel bench-resume bench-crash bench-flood: bench-%: $(SETUP)
	@$(PY) -m bench.$* $(if $(FULL),--full)

.PHONY: bench-cost
bench-cost: $(SETUP)
	@$(PY) -m bench.cost $(if $(DATA),--data "$(DATA)") $(if $(FULL),--full)

.PHONY: bench-stream
bench-stream: $(VENVS)/dev/.ready
	@$(PY) -m bench.stream $(if $(DATA),--data "$(DATA)") $(if $(FULL),--full)

.PHONY: bench-client
bench-client: $(SETUP)
	@$(PY) -m bench.client $(if $(DATA),--data "$(DATA)") $(foreach name,$(SUITE),--suite $(name)) \
		$(if $(FULL),--full)

.PHONY: bench-scheduling
bench-scheduling: $(VENVS)/dev/.ready
	@$(PY) -m bench.scheduling $(if $(DATA),--data "$(DATA)") $(foreach name,$(SUITE),--suite $(name)) \
		$(if $(PLOTS),--plots "$(PLOTS)") $(if $(FULL),--full)

.PHONY: bench-context
bench-context: $(SETUP)
	@$(PY) -m bench.context $(if $(DATA),--data "$(DATA)") $(foreach name,$(SUITE),--suite $(name)) \
		$(if $(FULL),--full)

.PHONY: scale
scale: $(VENVS)/dev/.ready
	@$(PY) -m bench.scale

.PHONY: bench-worker
bench-worker: $(VENVS)/dev/.ready
	@$(PY) -m bench.worker $(if $(FULL),--full)

.PHONY: lock
lock: $(VENVS)/boot/.ready
	@for name in boot build dev images ministack sam scan triton; do \
		echo "==> Locking requirements/$$name.txt"; \
		$(UV) pip compile $(LOCK_FLAGS) requirements/$$name.in \
			--output-file requirements/$$name.txt > /dev/null || exit 1; \
	done
	@echo '==> Locking layers/dependencies/requirements.txt'
	@$(UV) pip compile $(LOCK_FLAGS) $(addprefix --no-emit-package ,$(LAMBDA_PACKAGES)) \
		layers/dependencies/requirements.in \
		--output-file layers/dependencies/requirements.txt > /dev/null
	@echo '==> Locking gpu_service/worker/requirements.txt'
	@$(UV) pip compile $(LOCK_FLAGS) --constraint requirements/dev.txt gpu_service/worker/requirements.in \
		--output-file gpu_service/worker/requirements.txt > /dev/null
	@for folder in web gpu_service/vocabulary; do \
		echo "==> Locking $$folder/package-lock.json"; \
		(cd $$folder && npm install --package-lock-only --ignore-scripts --no-audit --no-fund) \
			|| exit 1; \
	done

.PHONY: clean
clean:
	rm -rf .local .mypy_cache .ruff_cache .pytest_cache .hypothesis web/dist web/node_modules \
		gpu_service/vocabulary/node_modules

# The interpreter's path, rewritten only when it changes. It is the first thing every target
# needs, so whatever this machine lacks is said before anything is installed.
.local/python: FORCE
	@for candidate in python3 python3.12 python3.11 "$(PYTHON)"; do \
		if "$$candidate" -c '' 2> /dev/null; then \
			exec "$$candidate" local/preflight.py $@ $(or $(MAKECMDGOALS),help); \
		fi; \
	done; \
	echo 'chatcore: Python is missing: install Python 3.11 or 3.12' \
		'(apt-get install python3 python3-venv)' >&2; \
	exit 1

.PHONY: FORCE
FORCE:

$(VENVS)/boot/.ready: requirements/boot.txt .local/python
	@echo '==> Installer (uv) into $(@D)'
	@rm -rf $(@D)
	@"$$(cat .local/python)" -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--only-binary :all: --requirement $<
	@touch $@

$(VENVS)/%/.ready: requirements/%.txt requirements/build.txt $(VENVS)/boot/.ready
	@echo "==> Python packages: $* into $(@D)"
	@test "$$(readlink -f $(@D)/bin/python)" = "$$(readlink -f "$$(cat .local/python)")" || \
		$(UV) venv --quiet --clear --python "$$(cat .local/python)" $(@D)
	@$(UV) pip sync --require-hashes $(PACKAGE_FLAGS) --build-constraints requirements/build.txt \
		--require-build-hashes --preview-features build-dependency-hashes \
		--python $(@D)/bin/python $<
	@touch $@

$(VOCABULARY): gpu_service/vocabulary/package-lock.json | .local/python
	@echo "==> Tokenizer vocabulary into $(@D)"
	@cd gpu_service/vocabulary && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(WEB_PACKAGES): web/package.json web/package-lock.json | .local/python
	@echo '==> Packages of the web page into web/node_modules'
	@cd web && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(WEB_PAGE): $(WEB_PACKAGES) $(WEB_SOURCES)
	@echo '==> Web page into web/dist'
	@cd web && npm run --silent build
	@touch $@
