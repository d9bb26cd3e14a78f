# Set-up needs Python 3.11+ and a package index; everything lands in .venv and in the model cache.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-server test-vllm gpu check docs clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ringfence needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m ringfence.models.load
	@touch $@

demo: setup
	$(BIN)/ringfence demo --out runs/demo

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

# llama.cpp's server, built from source (minutes), on the embedded model: an API judge against a real server.
test-server: setup
	scripts/test_server.sh

# vLLM's engine on CPUs, in an environment of its own (minutes): its answers, adapters and log probabilities.
test-vllm:
	scripts/test_vllm.sh

# What only a GPU decides, at Qwen2.5-7B's shape with random weights: one card of 80 GB, under 8 minutes, no network.
gpu: setup
	$(BIN)/python benchmarks/gpu.py --out gpu.json

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zensical build --strict

# The reference pages from the code, and the site in site/ (open site/index.html by `zensical serve`).
docs: setup
	$(BIN)/python docs/reference.py
	$(BIN)/zensical build

clean:
	rm -rf .venv .venv-server .venv-vllm build dist site
