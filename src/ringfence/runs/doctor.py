"""What is installed here, and what to type for what is missing: versions, devices, caches, room, keys, extras.

Nothing is loaded but torch, which knows the devices; the hub is asked once whether it answers.
"""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from ringfence.core.errors import install
from ringfence.core.files import cache_folder
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.run_folder import PACKAGES

State = Literal["ok", "note", "missing"]
PURPOSES = {
    "figures": "`ringfence figure`",
    "tinker": "`ringfence train --tinker URL`",
    "inspect": "models behind a server, and Inspect's own commands",
    "ray": "`engine: ray` of a selection, and `ringfence sweep --engine ray`",
    "slurm": "`ringfence sweep --engine slurm`",
    "trackers": "training.report_to: tensorboard or trackio",
    "embed": "sentence embeddings in selections",
    "lm-eval": "evaluation.tasks by lm_eval",
    "quantised": "model.load_in_4bit and load_in_8bit, and 8-bit optimizers",
    "vllm": "`generator: vllm`; on a machine without a GPU use scripts/setup_vllm.sh",
}
"""extra -> what it is for"""
KEYS = {
    "OPENAI_API_KEY": "a judge of kind api at OpenAI",
    "TINKER_API_KEY": "`ringfence train --tinker URL`",
    "HF_TOKEN": "gated and private repositories of the hub",
}
_LOW = 10  # GiB


@dataclass(frozen=True)
class Finding:
    """One line of the answer."""

    about: str
    what: str
    state: State
    do: str = ""
    """what to type or know; empty where nothing is to be done"""


def examine() -> list[Finding]:
    """All findings: what Ringfence cannot do without first."""
    return [*_versions(), *_devices(), *_room(), *_hub(), *_extras(), *_keys()]


def _versions() -> Iterator[Finding]:
    yield Finding("python", platform.python_version(), "ok")
    wanted = {one.name: one for one in _requirements() if one.marker is None}
    for name in PACKAGES:
        version = importlib.metadata.version(name)
        asked = wanted.get(name)
        fits = asked is None or asked.specifier.contains(version, prereleases=True)
        do = "" if fits else f"pip install '{asked}'"
        yield Finding(name, version, "ok" if fits else "missing", do)


def _devices() -> Iterator[Finding]:
    import torch

    threads = torch.get_num_threads()
    yield Finding("CPU", f"{len(os.sched_getaffinity(0))} cores, {threads} threads", "ok")
    if not torch.cuda.is_available():
        do = "small models only; a 7B model takes a card of 80 GB, see `ringfence train RECIPE --dry-run --card h100`"
        yield Finding("GPU", "none that torch sees", "note", do)
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
        yield Finding(f"GPU {index}", f"{about.name}, {free:.1f} of {total:.1f} GiB free", "ok")


def _room() -> Iterator[Finding]:
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    yield Finding("free memory", f"{pages:.1f} GiB", "ok")
    places = {"cache (RINGFENCE_CACHE)": cache_folder(), "hub cache (HF_HOME)": _hub_cache(), "here": Path.cwd()}
    for name, folder in places.items():
        free = shutil.disk_usage(_that_is_there(folder)).free / 2**30
        do = "" if free > _LOW else "a 7B model takes 15 GiB, and a checkpoint of all its weights more"
        yield Finding(name, f"{folder}, {free:.0f} GiB free", "ok" if free > _LOW else "note", do)


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    offline_if_unreachable()
    if constants.HF_HUB_OFFLINE:
        yield Finding("hub", "not reached, or HF_HUB_OFFLINE is set", "note", "only cached models and data are found")
    else:
        yield Finding("hub", f"{constants.ENDPOINT} answers", "ok")


def _extras() -> Iterator[Finding]:
    by_extra: dict[str, list[Requirement]] = {}
    for one in _requirements():
        for extra in PURPOSES:
            if (
                one.marker is not None
                and one.marker.evaluate({"extra": extra})
                and not one.marker.evaluate({"extra": ""})
            ):
                by_extra.setdefault(extra, []).append(one)
    for extra, purpose in ((name, text) for name, text in PURPOSES.items() if name in by_extra):
        found = [(one, _installed(one.name)) for one in by_extra.get(extra, [])]
        lacking = [str(one.name) for one, version in found if version is None or version not in one.specifier]
        told = ", ".join(f"{one.name} {version or 'absent'}" for one, version in found)
        do = f"for {purpose}: {install(extra)}" if lacking else ""
        yield Finding(f"extra {extra}", told, "missing" if lacking else "ok", do)


def _keys() -> Iterator[Finding]:
    for name, purpose in KEYS.items():
        given = bool(os.environ.get(name))
        do = "" if given else f"for {purpose}: export {name}=..."
        yield Finding(name, "set" if given else "not set", "ok" if given else "note", do)


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in importlib.metadata.requires("ringfence") or []]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _that_is_there(folder: Path) -> Path:
    return folder if folder.exists() else _that_is_there(folder.parent)
