# Main commands: `make reproduce` and `make test`. Each creates .venv first if it is missing.
.DEFAULT_GOAL := help
.PHONY: help environment reproduce test fuzz notebooks benchmark lint docs lock clean

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
BIN := .venv/bin

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# `make environment TORCH_INDEX=ADDRESS` takes PyTorch from another index, for example one with PyTorch for the CPU only,
# and leaves out what only CUDA needs
TORCH_INDEX ?=
TORCH := ^torch(vision)?==
CUDA := ^(cuda|nvidia|triton)\b
# uv if it is installed, which is faster; pip otherwise. Both show what arrives
INSTALL := $(if $(shell command -v uv 2> /dev/null),uv pip install --python $(BIN)/python,$(BIN)/pip install)

# the stamp is written last, so that an interrupted installation is repeated
ENVIRONMENT := .venv/complete

$(ENVIRONMENT): requirements.lock
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; set PYTHON=...')"
	rm -rf .venv
	$(PYTHON) -m venv .venv
	@echo "installing $$(grep -c == requirements.lock) packages into .venv; most bytes are PyTorch's CUDA libraries"
ifneq ($(strip $(TORCH_INDEX)),)
	grep -E '$(TORCH)' requirements.lock > .venv/torch.txt
	grep -vE '$(TORCH)|$(CUDA)' requirements.lock > .venv/others.txt
	$(INSTALL) --no-deps --index-url "$(TORCH_INDEX)" --requirement .venv/torch.txt
	$(INSTALL) --requirement .venv/others.txt
else
	$(INSTALL) --requirement requirements.lock
endif
	@touch $@

# the command `sisr`, of the files in this folder; added to an environment of an earlier version without recreating it
INSTALLED := $(BIN)/sisr

$(INSTALLED): pyproject.toml | $(ENVIRONMENT)
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

environment: $(INSTALLED)  ## create .venv from requirements.lock; TORCH_INDEX=ADDRESS: PyTorch from another index

reproduce: $(INSTALLED)  ## run the preset `quick` and print its tables
	@$(BIN)/python workflow/scripts/unlock_stale.py
	$(BIN)/snakemake --cores $(CORES)

test: $(INSTALLED)  ## run all tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

fuzz: $(INSTALLED)  ## try thousands of malformed configurations, images, weights and archives; compile all mechanisms
	SISR_FUZZ=20 $(BIN)/python -m pytest -n auto --dist worksteal tests/config/test_fuzz_configurations.py \
	    tests/data/test_decode.py tests/data/test_fetch_archives.py tests/models/test_weight_files.py tests/models/test_attention.py

# the folder whose tables are shown, and where the executed notebooks go
REFERENCE := results/reference/laptop
# the notebooks whose results are there
MEASURED = $(filter $(basename $(notdir $(wildcard $(REFERENCE)/tables/*.csv))) \
    $(if $(wildcard $(REFERENCE)/analysis),what_enla_computes),$(basename $(notdir $(wildcard notebooks/*.ipynb))))

notebooks: $(INSTALLED)  ## render the measured results as notebooks, without training
	@set -e; for name in $(MEASURED); do \
	    $(BIN)/python -m sisr notebook notebooks/$$name.ipynb results/notebooks/$$name.ipynb \
	    --html results/notebooks/$$name.html --results $(REFERENCE); done
	$(BIN)/python -m sisr notebook notebooks/upscale.ipynb results/notebooks/upscale.ipynb \
	    --html results/notebooks/upscale.html

benchmark: $(INSTALLED)  ## measure speed and memory, into results/benchmarks
	$(BIN)/python -m benchmarks.attention --output results/benchmarks
	$(BIN)/python -m benchmarks.contrastive --output results/benchmarks
	$(BIN)/python -m benchmarks.imresize
	$(BIN)/python -m benchmarks.input --output results/benchmarks

lint: $(INSTALLED)  ## check formatting, style, types, imports and the workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(INSTALLED)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

lock: $(INSTALLED)  ## update requirements.lock from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra zoo --universal --python-version 3.11 --no-header \
	    --no-annotate --no-emit-index-url --upgrade --output-file requirements.lock

clean:  ## remove the results of `quick` (data and environment stay)
	rm -rf results/quick
