"""What ``ringfence direction`` reads beside data sets, and writes beside directions: projections, samples, maps."""

import hashlib
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import atomic, finite, sha256, write_json
from ringfence.core.plain import read_json
from ringfence.data.conversations import Conversation
from ringfence.directions.axis import Direction, Floats, describe
from ringfence.directions.axis import project as project_on
from ringfence.directions.fitting import PACKAGES
from ringfence.directions.sets import Points, Sets
from ringfence.report.latent import Latent, flatten, thinned, write_latent
from ringfence.select.along_direction import along
from ringfence.select.output import manifest_of


@dataclass(frozen=True)
class Sampling:
    """How a sample is taken."""

    direction: Path
    spec: str
    count: int
    by: str | None
    """column with the domain; None: the set is one"""


@dataclass(frozen=True)
class Drawing:
    """What is drawn beside the sets, and how."""

    direction: Path
    specs: Sequence[str]
    """of the sets"""
    rates: Mapping[str, float]
    """set -> measured misalignment"""
    suites: Sequence[str]
    marks: Sequence[Conversation]
    """the prompts of the suites"""
    rows: int
    """most rows of a set on the map"""
    seed: int


def projected(direction: Direction, points: Points) -> Floats:
    """(rows,) of every row of ``points``."""
    return project_on(direction, points.layers[direction.layer])


def write_projections(out: Path, direction: Direction, sets: Sets, points: Points, projections: Floats) -> None:
    """A parquet file with the columns set, origin, domain, projection, and the tokens that each mean is over."""
    rows = sets.rows
    frame = pd.DataFrame(
        {
            "set": sets.labels,
            "origin": [row["origin"] for row in rows],
            "domain": pd.array([row.get("domain") for row in rows], dtype="string"),
            "projection": projections,
            f"{direction.role}_tokens": points.tokens,
        }
    )
    with atomic(out) as temporary:
        frame.to_parquet(temporary, index=False)


def require_new(out: Path, suffix: str) -> None:
    """Raise :class:`RingfenceError` unless ``out`` can be written with such a suffix, and over nothing."""
    if out.suffix != suffix:
        raise RingfenceError(f"{out}: name a {suffix} file")
    if out.exists():
        raise RingfenceError(f"{out}: exists; choose another --out")


def require_new_sample(out: Path) -> Path:
    """The place of ``out``'s manifest. Raises :class:`RingfenceError` if a sample cannot be written there.

    A sample's manifest without its rows is what a kill leaves, and in nobody's way.
    """
    require_new(out, ".jsonl")
    manifest = manifest_of(out)
    if manifest.exists() and not _is_manifest(manifest):
        raise RingfenceError(f"{manifest}: exists and is no manifest of a sample; choose another --out")
    return manifest


def require_labels(sets: Sets, by: str | None, count: int) -> None:
    """Before a model is loaded: raise :class:`RingfenceError` where :func:`write_sample` could not sample."""
    if count > len(sets):
        raise RingfenceError(f"--count: {count} rows are asked for, and {sets.names[0]} has {len(sets)}; ask for fewer")
    for row in sets.rows if by else ():
        if not row.get(str(by)):
            raise RingfenceError(
                f"{row['origin']}: has no {by!r}, and a sample is proportional to domains; label every row, name "
                "another column by --by, or take the set as one with --no-domains"
            )


def write_sample(
    out: Path, manifest: Path, direction: Direction, sets: Sets, projections: Floats, sampling: Sampling
) -> list[tuple[str, str, str]]:
    """Write the rows and, before them, the manifest with their digest; returns (domain, rows, taken) of each domain.

    A kill in between leaves the manifest alone, and the same call writes both.
    """
    rows = sets.rows
    domains = ["all" if sampling.by is None else str(row[sampling.by]) for row in rows]
    places = along(projections, domains, sampling.count).tolist()
    lines = "".join(_line(rows[place], projections[place]) for place in places)
    before, after = Counter(domains), Counter(domains[place] for place in places)
    about = {
        "direction": {"file": sha256(sampling.direction), "layer": direction.layer, "model": direction.model},
        "source": describe(sampling.spec, rows),
        "count": sampling.count,
        "by": sampling.by,
        "domains": {name: {"before": before[name], "after": after[name]} for name in sorted(before)},
        "mean_projection": {"before": float(projections.mean()), "after": float(projections[places].mean())},
        "output": {"rows": len(places), "sha256": hashlib.sha256(lines.encode()).hexdigest()},
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    with atomic(out) as temporary:
        temporary.write_bytes(lines.encode())
        write_json(manifest, about)
    return [(name, str(before[name]), str(after[name])) for name in sorted(before)]


def parse_em(given: Sequence[str], specs: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Set name -> rate, of ``NAME=RATE`` and ``.json`` files, with sets named as on the page or as they are given.

    Raises :class:`RingfenceError` for an unknown set, for one that is given twice, and for what is no rate.
    """
    known = dict(zip(specs, names, strict=True)) | {name: name for name in names}
    rates: dict[str, float] = {}
    for item in given:
        pairs = _em_file(item) if item.endswith(".json") else dict([_em_pair(item)])
        for key, value in pairs.items():
            if key not in known:
                raise RingfenceError(f"--em: no set is called {key!r}.{did_you_mean(key, known)}")
            if known[key] in rates:
                raise RingfenceError(f"--em: {key} is given twice; leave one out")
            rates[known[key]] = _rate(key, value)
    return rates


def latent_of(
    sets: Sets, points: Points, projections: Floats, rates: Mapping[str, float], marks: Sequence[Conversation]
) -> Latent:
    """What the page shows: ``points`` and ``projections`` are of the rows of ``sets``, and then of ``marks``."""
    size = len(sets)
    return Latent(
        sets=sets.names,
        set_of=np.repeat(np.arange(len(sets.names)), [len(own) for own in sets.conversations]),
        origins=[row["origin"] for row in sets.rows],
        projection=projections[:size],
        tokens=points.tokens[:size],
        em=rates,
        marks=[mark["origin"] for mark in marks],
        mark_projection=projections[size:],
    )


def write_map(
    out: Path, direction: Direction, sets: Sets, points: Points, projections: Floats, drawing: Drawing
) -> None:
    """Write the page; ``points`` and ``projections`` are of the rows of ``sets``, and then of the marks."""
    latent = latent_of(sets, points, projections, drawing.rates, drawing.marks)
    shown = thinned([len(own) for own in sets.conversations], drawing.rows)
    vectors = points.layers[direction.layer]
    places = flatten([*vectors[shown], *vectors[len(sets) :]], drawing.seed)
    said = f"{drawing.direction.name}: layer {direction.layer} of {direction.model} ({direction.base})"
    facts = [
        ("direction", f"{said}, {direction.role} tokens"),
        *((f"set {name}", spec) for name, spec in zip(sets.names, drawing.specs, strict=True)),
        *(("evaluation prompts", spec) for spec in drawing.suites),
        ("seed of the map", str(drawing.seed)),
    ]
    write_latent(out, latent, shown, places, facts)


def _is_manifest(path: Path) -> bool:
    """Whether :func:`write_sample` wrote ``path``."""
    try:
        about = read_json(path)
    except RingfenceError:
        return False
    return isinstance(about, dict) and {"direction", "source", "output"} <= about.keys()


def _line(row: Conversation, projection: float) -> str:
    kept = {key: value for key, value in row.items() if key != "origin"}
    # Where an earlier selection had a row from is not lost.
    said = {**kept, "pool_origin": row.get("pool_origin", row["origin"]), "projection": float(projection)}
    return json.dumps(finite(said), ensure_ascii=False, allow_nan=False) + "\n"


def _em_pair(item: str) -> tuple[str, Any]:
    name, separator, rate = item.rpartition("=")
    if not separator:
        raise RingfenceError(f"--em {item}: give NAME=RATE, e.g. {item}=0.12, or a .json file with such pairs")
    try:
        return name, float(rate)
    except ValueError:
        return name, rate


def _em_file(name: str) -> dict[str, Any]:
    path = Path(name).expanduser()
    try:
        pairs = read_json(path)
    except RingfenceError as error:
        raise RingfenceError(f"--em {error}") from None
    if not isinstance(pairs, dict):
        raise RingfenceError(f'--em {path}: must be one JSON object, set -> rate, e.g. {{"a": 0.12}}')
    return pairs


def _rate(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or not 0 <= value <= 1:
        raise RingfenceError(f"--em: {key} is {value!r}; give a rate from 0 to 1")
    return float(value)
