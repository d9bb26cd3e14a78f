"""Optional parts: what is missing says what to type, whichever part it is, and every part has its row in the docs."""

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.core.ray_cluster import import_ray
from ringfence.core.trackers import check_reporters
from ringfence.evaluate.harness import require_installed
from ringfence.generation.tinker import sdk
from ringfence.models.vllm import require_vllm
from ringfence.recipe.sections import ModelConfig
from ringfence.report.figures.style import paper_style
from ringfence.runs.doctor import PURPOSES
from ringfence.runs.generators import behind_server
from ringfence.select.embeddings import require_library
from ringfence.sweep.engines.slurm import SlurmEngine

ROOT = Path(__file__).parents[1]
NEEDS: dict[str, tuple[list[str], Callable[[], object]]] = {
    "embed": (["sentence_transformers"], lambda: require_library("org/encoder")),
    "figures": (["matplotlib"], lambda: paper_style().__enter__()),
    "inspect": (["inspect_ai", "ringfence.generation.inspect"], lambda: behind_server("openai/x", Path("logs"))),
    "lm-eval": (["lm_eval"], require_installed),
    "quantised": (["bitsandbytes"], lambda: ModelConfig(name="org/model", load_in_4bit=True)),
    "ray": (["ray"], import_ray),
    "slurm": (["submitit"], SlurmEngine),
    "tinker": (["tinker"], sdk),
    "trackers": (["tensorboard", "tensorboardX"], lambda: check_reporters({"report_to": ["tensorboard"]})),
    "vllm": (["vllm"], require_vllm),
}


def test_every_extra_is_told_of() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    assert sorted(NEEDS) == sorted(PURPOSES) == sorted(set(extras) - {"dev"}) == sorted(rows)


@pytest.mark.parametrize("extra", NEEDS)
def test_without_it_there_is_a_line_that_says_what_to_type(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, need = NEEDS[extra]
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(ValueError, match=rf"`pip install .*'\.\[{extra}\]'`"):
        need()
