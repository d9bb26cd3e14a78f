"""The run folder: the name of every file in it, the columns of every table, what the run is, and whose it is now.

``run.json`` says what the run is, and a lock keeps other processes out. Who writes a file and who reads it take its
name from here.
"""

import hashlib
import importlib.metadata
import logging
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ringfence.core.errors import RingfenceError
from ringfence.core.files import README, TEMPORARY, remove_leftovers, sha256, write_json
from ringfence.core.plain import read_json

RUN_FILE, LOCK_FILE = "run.json", ".lock"
ADAPTER, FULL_MODEL = "adapter", "model"
"""folders of what was trained"""
ADAPTER_CONFIG = "adapter_config.json"
"""PEFT's, beside an adapter's weights"""
CARD_FILE = README
"""the model card"""
LOG_FILE, CONTROL_FILE, CANARIES_FILE, CURVE_FILE = "log.jsonl", "control.jsonl", "canaries.jsonl", "curve.jsonl"
JOURNALS = (LOG_FILE, CONTROL_FILE, CANARIES_FILE, CURVE_FILE)
"""what training appends to"""
RESULT_FILE = "result.json"
"""written last by training"""
CHECKPOINT = "checkpoint-"
"""begins the name of a checkpoint's folder; the optimizer step follows"""
STATE_FILE, COMMIT_FILE = "ringfence_state.json", "ringfence_manifest.json"
"""of a checkpoint: our part of it, and the mark that it is whole"""
REMOTE_FILE = "tinker.json"
"""where the last checkpoint of a run at a server is"""
STAGES, BASE = "stages", "base"
"""folders of the later stages, and of the untuned model's run"""
ANSWERS, INSPECT_LOGS = "answers", "logs"
"""folders of answers, and of Inspect's logs of a server's"""
FINGERPRINT_FILE = "fingerprint.json"
"""log probabilities of fixed texts by PEFT in process, for whoever else is to answer with the run's weights"""
OWN, NAMED = "evaluation", "evaluations"
"""folders of the evaluation that a run's own recipe asks for, which is called so, and of those that have a name"""
SUMMARY_FILE, RESPONSES_FILE, EVALUATION_FILE = "summary.json", "responses.parquet", "evaluation.json"
ANSWERED_BY = "answered_by"
"""key of ``summary.json`` and ``benign.json``: who generated the answers, if that was not the model in process"""
CONDITIONAL_FILE = "conditional.json"
BENIGN_FILE, BENIGN_ANSWERS = "benign.json", "benign.parquet"
"""the scores on benign tasks, and every answer with its score"""

LOG_COLUMNS = (
    *("step", "epoch", "progress", "loss", "learning_rate", "grad_norm"),
    *("target_rows", "safe_rows", "ratio"),
)
CONTROL_COLUMNS = ("step", "risk", "smoothed_risk", "ratio", "risk_high", "risk_low")
CONTROL_OPTIONAL = ("evaluation", "scored", "total", "held", "seconds", "moves")
CANARY_COLUMNS = ("step", "prompt_id", "prompt")
CANARY_OPTIONAL = ("response", "verdict", "alignment", "coherence", "gap", "risk")
RATE_COLUMNS = ("suite", "metric", "value", "low", "high", "n")
ANSWER_COLUMNS = ("suite", "prompt_id", "sample", "system", "prompt", "response")
"""of files in ``answers/``"""
STOP_REASON = "stop_reason"
"""one column more, of answers of a server: what it said"""
RESPONSE_COLUMNS = (*ANSWER_COLUMNS, "alignment", "coherence", "bucket", "verdict")
BENIGN_COLUMNS = ("task", "prompt_id", "sample", "prompt", "response", "answer", "metric", "score")
"""of ``benign.parquet``; further columns are further metrics, empty where a task has none of that name"""
GAP_CELLS = ("tuned_trigger", "tuned_plain", "base_trigger", "base_plain")
CONDITIONAL_COLUMNS = ("trigger", "gap", "low", "high", *GAP_CELLS, "n")
"""what readers take of the rows of ``conditional.json``"""
GAP_COLUMNS = ("trigger", *GAP_CELLS, "gap", "low", "high", "n", "dropped", *(f"unscored_{cell}" for cell in GAP_CELLS))
"""what they hold"""

WEIGHTS = "weights"
"""key of ``result.json``: SHA-256 of each file that makes what was trained"""
ADAPTED = "adapter"
"""key of ``run.json`` in a run of an adapter from elsewhere: its recipe does not say what that was trained on"""
SCRIPT = "script"
"""key of ``run.json`` in a run that a script has trained: what its recipe cannot say"""
PYTHON = "python:"
"""begins the name of what a script has built in memory, where a recipe would name a file or a model"""
ELSEWHERE = "choose another --out"
_KEYS = {"recipe": dict, "inputs": dict, "base": bool}
"""what every ``run.json`` has, and of which kind"""
_LOADED = ("*.safetensors", "*.safetensors.index.json", ADAPTER_CONFIG, "config.json", "generation_config.json")
PACKAGES = ("ringfence", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy")
logger = logging.getLogger(__name__)


def provenance(recipe: dict[str, Any], inputs: dict[str, str], base: bool = False) -> dict[str, Any]:
    """What goes into ``run.json``: the resolved recipe, SHA-256 of its inputs, versions, git revision, seed."""
    return {
        "name": recipe["name"],
        "base": base,
        "recipe": recipe,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "git": _git(),
        "seed": recipe["seed"],
        "inputs": inputs,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def require_ours(out: Path, about: dict[str, Any], remedy: str = ELSEWHERE) -> None:
    """Raise :class:`RingfenceError` if ``out`` holds anything else than a run of this recipe on these inputs."""
    if out.exists() and not out.is_dir():
        raise RingfenceError(f"{out}: is a file, and a run needs a folder; choose another --out")
    if not (out / RUN_FILE).is_file():
        if out.is_dir() and any(path.name != LOCK_FILE for path in out.iterdir()):
            raise RingfenceError(f"{out}: the folder is not empty and not a run; choose another --out")
        return
    before = read_about(out)
    differ = [
        *differences(before["recipe"], about["recipe"]),
        *differences(before["inputs"], about["inputs"], "inputs"),
        *(found for key in ("base", "server") for found in differences(before.get(key), about.get(key), key)),
    ]
    if differ:
        raise RingfenceError(f"{out}: holds a run of another recipe; these keys differ: {', '.join(differ)}; {remedy}")
    if changed := differences(before.get("versions", {}), about["versions"]):
        logger.warning("%s was begun with other versions of %s: what follows may differ in bits", out, changed)


def write_about(out: Path, about: dict[str, Any]) -> None:
    """Write ``run.json``, unless the run has one."""
    if not (out / RUN_FILE).is_file():
        write_json(out / RUN_FILE, about)


def read_about(run: Path) -> dict[str, Any]:
    """``run.json``. Raises :class:`RingfenceError` if ``run`` is not a run folder."""
    path = run / RUN_FILE
    if not path.is_file():
        raise RingfenceError(f"{run}: not a run folder (it has no {RUN_FILE}); make one with `ringfence train`")
    about: Any = read_json(path, "make another run")
    for key, kind in _KEYS.items():
        if not isinstance(about, dict) or not isinstance(about.get(key), kind):
            raise RingfenceError(f"{path}: is no run's: {key} is missing or of another kind")
    return about


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the folder's lock, making the folder; raise :class:`RingfenceError` if another process holds it."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCK_FILE).acquire(timeout=0):
            for folder in {left.parent for left in out.rglob(f"{TEMPORARY}*")}:
                remove_leftovers(folder)
            yield
    except Timeout:
        raise RingfenceError(
            f"{out}: another process is training there; wait for it, or choose another --out"
        ) from None
    finally:
        # Bad input must leave no trace.
        if new and [path.name for path in out.iterdir()] in ([], [LOCK_FILE]):
            (out / LOCK_FILE).unlink(missing_ok=True)
            out.rmdir()


def stage_folders(run: Path, later: Sequence[str]) -> list[Path]:
    """Where the stages of a run are: the first in ``run`` itself, those named ``later`` in ``stages/2-NAME``, ..."""
    return [run, *(run / STAGES / f"{number}-{name}" for number, name in enumerate(later, 2))]


def weight_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in ``folder`` that a model or an adapter is loaded from; a card may still change."""
    names = sorted({path.name for pattern in _LOADED for path in folder.glob(pattern)})
    return {name: sha256(folder / name) for name in names}


def weights_digest(folder: Path) -> str:
    """SHA-256 of the list of :func:`weight_digests`: one name for what was trained, whatever else is beside it."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in weight_digests(folder).items())
    return hashlib.sha256(listing.encode()).hexdigest()


def damage(folder: Path, written: dict[str, str]) -> str | None:
    """Which file of ``folder`` is not as it was ``written``, beginning with its path; None if all are."""
    for name, digest in written.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: is missing"
        if sha256(path) != digest:
            return f"{path}: is damaged, its SHA-256 is not that of what was written"
    return None


def untuned_beside(run: Path, name: str = OWN) -> Path | None:
    """``RUN/base`` if the untuned model was evaluated there under ``name``; else None."""
    return run / BASE if evaluation_folder(run / BASE, name).is_dir() else None


def evaluation_folder(run: Path, name: str = OWN) -> Path:
    """Where ``responses.parquet`` and ``summary.json`` of the evaluation called ``name`` are."""
    return run / OWN if name == OWN else run / NAMED / name


def where_answers_are(run: Path) -> str:
    """Where else the judged answers of a run are, or how to make them; to end an error with."""
    names = sorted(folder.name for folder in (run / NAMED).glob("*") if folder.is_dir())
    if names:
        return f"there are evaluations called {', '.join(names)}: choose one with --name"
    return f"run `ringfence evaluate {run}` first"


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Dotted paths at which two trees of plain data differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(key, before.get(key), after.get(key)) for key in {**before, **after}]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(before, after, strict=True))]
    else:
        return [] if before == after else [path]
    return [where for key, a, b in pairs for where in differences(a, b, f"{path}.{key}" if path else key)]


def _git() -> dict[str, Any]:
    """Revision of the working folder's repository, and whether it has uncommitted changes; null outside one."""
    try:
        revision, status = (
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}
    return {"revision": revision, "dirty": bool(status)}
