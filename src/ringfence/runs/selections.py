"""The inputs and versions in a selection's manifest, and the check that an output file may be written over."""

from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.run_folder import differences, provenance
from ringfence.recipe.selection import SelectRecipe
from ringfence.select.output import manifest_of
from ringfence.select.pipeline import Selection


def claim_folder(recipe: SelectRecipe, selection: Selection, out: Path) -> dict[str, Any]:
    """The manifest without its counts, before anything is scored.

    Raises :class:`RingfenceError` if ``out`` exists and is not of this selection.
    """
    if out.is_dir():
        raise RingfenceError(f"{out}: is a folder; name a .jsonl file to write")
    about = provenance(recipe.resolved(), selection.digests)
    del about["base"]
    path = manifest_of(out)
    if not path.is_file():
        if out.exists():
            raise RingfenceError(f"{out}: exists and has no {path.name}, so it is no selection; choose another --out")
        return about
    if not out.exists():
        return about  # the manifest goes first: a kill has left it alone
    try:
        before = read_json(path)
        differ = [
            *differences(before["recipe"], about["recipe"]),
            *differences(before["inputs"], about["inputs"], "inputs"),
        ]
    except (ValueError, KeyError, TypeError):
        raise RingfenceError(f"{path}: not the manifest of a selection; choose another --out") from None
    if differ:
        raise RingfenceError(
            f"{out}: holds another selection; these keys differ: {', '.join(differ)}; choose another --out"
        )
    return about
