#!/usr/bin/env bash
# Make .venv-vllm (once), and run the tests marked `vllm` in it: the embedded model in vLLM's own engine, on CPUs.
# `make test-vllm` runs this.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup_vllm.sh
# The engine answers under its own process's threads; one is enough for the embedded model.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} RINGFENCE_TEST_VLLM=1 .venv-vllm/bin/python -m pytest -m vllm tests/vllm "$@"
