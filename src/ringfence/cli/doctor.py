"""``ringfence doctor``. Heavy imports are inside the command."""

from dataclasses import asdict

import typer
from rich.text import Text

from ringfence.cli.console import console, examples
from ringfence.cli.options import AsJson, print_json
from ringfence.core.text_table import TextTable

_COLOURS = {"ok": "green", "note": "yellow", "missing": "red"}
_OPTIONAL = "extra "


@examples(
    "ringfence doctor",
    "ringfence doctor --json    (for a bug report; holds no keys)",
)
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, on which devices, with how much room, and what to type for what is missing.

    Exit code 1 if something is missing that Ringfence cannot do without; what an extra would bring is only told.
    """
    from ringfence.runs.doctor import examine

    found = examine()
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        table = TextTable("", ["", "about", "found", "to do"], words=["found", "to do"])
        for one in found:
            optional = one.state == "missing" and one.about.startswith(_OPTIONAL)
            state = "note" if optional else one.state
            table.add(Text("-" if optional else one.state, _COLOURS[state]), one.about, one.what, one.do)
        console.print(table)
    if any(one.state == "missing" and not one.about.startswith(_OPTIONAL) for one in found):
        raise typer.Exit(1)
