#!/usr/bin/env bash
# Train a recipe on several nodes by FSDP2: every GPU holds a part of the weights, for models that one GPU cannot hold or
# train. Start the same line on every node, with its own NODE_RANK; the folder after --out is on a disk that all share.
#
#     NODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 scripts/nodes_accelerate.sh recipe.yaml --out /shared/runs/kl   # first
#     NODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 scripts/nodes_accelerate.sh recipe.yaml --out /shared/runs/kl   # second
#
# On one machine: NODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1. GPUS: of a node (default: those that nvidia-smi lists).
set -euo pipefail

: "${NODES:?the number of nodes}" "${NODE_RANK:?the number of this node, from 0}" "${MASTER_ADDR:?address of node 0}"
if [ -z "${GPUS:-}" ]; then
    command -v nvidia-smi >/dev/null || { echo "no nvidia-smi here: set GPUS to the processes of this node" >&2; exit 2; }
    GPUS=$(nvidia-smi --list-gpus | wc -l)
fi

exec "${ACCELERATE:-accelerate}" launch \
    --use_fsdp --fsdp_version 2 --fsdp_state_dict_type SHARDED_STATE_DICT \
    --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_reshard_after_forward true \
    --fsdp_cpu_ram_efficient_loading false --mixed_precision bf16 --dynamo_backend no \
    --num_machines "$NODES" --machine_rank "$NODE_RANK" --num_processes "$((NODES * GPUS))" \
    --main_process_ip "$MASTER_ADDR" --main_process_port "${MASTER_PORT:-29500}" --rdzv_backend static \
    --module ringfence train "$@"
