"""What an audit is of: somebody's adapter or model, in a folder, on the hub or behind a server, and its base model.

Nothing is loaded here but small files: an adapter names its base model in ``adapter_config.json``, a model in the
metadata of its card.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml

from ringfence.core.errors import RingfenceError
from ringfence.core.files import README
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.plain import read_json
from ringfence.core.run_folder import ADAPTER, ADAPTER_CONFIG, FULL_MODEL, RUN_FILE
from ringfence.runs.imported import name_after

SERVER = "server:"
"""begins the name of a model behind a server; what follows is Inspect's"""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FETCHED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", README)
"""of a repository: what is no code and no pickle"""


@dataclass(frozen=True)
class Subject:
    """One fine-tune that is audited."""

    name: str
    """in tables and of its folder"""
    kind: Literal["adapter", "model", "server"]
    folder: Path | None
    """of its weights; None behind a server"""
    base: str
    """the model that it was made of, as a recipe names it; behind a server its own name"""
    server: str | None = None
    """Inspect's name"""


def find_subject(given: str, base: str | None = None, revision: str | None = None) -> Subject:
    """What ``given`` is: a run folder, an adapter's or a model's folder, a hub id, or ``server:PROVIDER/NAME``.

    ``base`` is what the user says of its base model. Raises :class:`RingfenceError` if ``given`` is nothing of it, and
    if its base model is not known.
    """
    if given.startswith(SERVER):
        return _served(given, base)
    folder = Path(given).expanduser()
    if folder.is_dir():
        return _in_folder(folder, base)
    if not _HUB_ID.fullmatch(given):
        raise RingfenceError(
            f"{given}: no such folder; give the folder of an adapter, a model or a run, a hub id such as OWNER/NAME, "
            f"or {SERVER}PROVIDER/NAME"
        )
    found = _in_folder(_fetched(given, revision), base, given)
    return replace(found, name=given.replace("/", "-"))


def _served(given: str, base: str | None) -> Subject:
    server = given.removeprefix(SERVER)
    if base is not None:
        raise RingfenceError(
            "--base: a model behind a server is asked alone; to see it beside its base model, audit both: "
            f"{given} {SERVER}PROVIDER/BASE"
        )
    return Subject(re.sub(r"[^\w.+ -]+", "-", server), "server", None, server, server)


def _in_folder(folder: Path, base: str | None, given: str | None = None) -> Subject:
    named = given or str(folder)
    if (folder / RUN_FILE).is_file():
        trained = [folder / one for one in (ADAPTER, FULL_MODEL) if (folder / one).is_dir()]
        if not trained:
            raise RingfenceError(f"{folder}: is a run without trained weights; `ringfence evaluate` asks such runs")
        folder, base = trained[0], base or _base_of_run(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        found = base or read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        if not found:
            raise RingfenceError(f"{named}: {ADAPTER_CONFIG} names no base model; give --base FOLDER or --base ID")
        return Subject(name_after(folder), "adapter", folder, str(found))
    if not (folder / "config.json").is_file():
        raise RingfenceError(
            f"{named}: holds no fine-tune: neither {ADAPTER_CONFIG} (an adapter) nor config.json (a model)"
        )
    found = base or _base_in_card(folder / README)
    if not found:
        raise RingfenceError(
            f"{named}: is a whole model, and its card names no base_model to compare it with; give --base FOLDER or "
            "--base ID"
        )
    return Subject(name_after(folder), "model", folder, str(found))


def _base_of_run(run: Path) -> str | None:
    recipe = read_json(run / RUN_FILE).get("recipe")
    model = recipe.get("model") if isinstance(recipe, dict) else None
    return model.get("name") if isinstance(model, dict) else None


def _base_in_card(card: Path) -> str | None:
    """``base_model`` in the metadata of a model card; None where there is none, or several."""
    if not card.is_file():
        return None
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    found = front.get("base_model") if isinstance(front, dict) else None
    if isinstance(found, list):
        found = found[0] if len(found) == 1 else None
    return found if isinstance(found, str) else None


def _fetched(hub_id: str, revision: str | None) -> Path:
    """The folder of a hub repository's weights and settings in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    offline_if_unreachable()
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(_FETCHED)))
    except GatedRepoError:
        raise RingfenceError(
            f"{hub_id}: is gated; ask for access on https://huggingface.co/{hub_id}, then `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise RingfenceError(
            f"{hub_id}: no folder here, and no such repository on the hub, or a private one (`hf auth login`)"
        ) from None
    except LocalEntryNotFoundError:
        raise RingfenceError(
            f"{hub_id}: no folder here, and the hub cannot be reached; run `hf download {hub_id}` where it can, and "
            "copy the cache"
        ) from None
    except HfHubHTTPError as error:
        raise RingfenceError(f"{hub_id}: cannot be fetched: {str(error).splitlines()[0]}") from None
