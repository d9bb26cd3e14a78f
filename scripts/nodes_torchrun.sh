#!/usr/bin/env bash
# Train a recipe on several nodes by plain data parallelism (DDP): every GPU holds the whole model. Start the same line on
# every node, with its own NODE_RANK; the folder after --out is on a disk that all nodes share.
#
#     NODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 scripts/nodes_torchrun.sh recipe.yaml --out /shared/runs/kl   # first node
#     NODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1 scripts/nodes_torchrun.sh recipe.yaml --out /shared/runs/kl   # second
#
# GPUS: of a node (default: those that nvidia-smi lists). MASTER_PORT: a free port of the first node. LOGS: a folder for
# what each rank says, to see which one failed first.
set -euo pipefail

: "${NODES:?the number of nodes}" "${NODE_RANK:?the number of this node, from 0}" "${MASTER_ADDR:?address of node 0}"
if [ -z "${GPUS:-}" ]; then
    command -v nvidia-smi >/dev/null || { echo "no nvidia-smi here: set GPUS to the processes of this node" >&2; exit 2; }
    GPUS=$(nvidia-smi --list-gpus | wc -l)
fi

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "$NODES" --node-rank "$NODE_RANK" --nproc-per-node "$GPUS" \
    --master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-29500}" \
    --max-restarts 0 ${LOGS:+--log-dir "$LOGS" --tee 3} \
    -m ringfence train "$@"
