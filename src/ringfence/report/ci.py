"""The gate's answer for machines that test models: JUnit XML, and GitHub's annotations and job summary."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_text
from ringfence.evaluate.gate import GateResult, Reason

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""names the file that GitHub shows as the summary of a job"""


def junit(result: GateResult, name: str) -> str:
    """One test suite called ``name``, one test a rule and suite; a rule that does not hold is a failure."""
    failures = str(sum(not reason.passed for reason in result.reasons))
    suite = Xml.Element("testsuite", name=f"ringfence gate {name}", tests=str(len(result.reasons)), failures=failures)
    for reason in result.reasons:
        case = Xml.SubElement(suite, "testcase", classname=reason.rule, name=reason.where)
        if reason.passed:
            Xml.SubElement(case, "system-out").text = reason.why
        else:
            Xml.SubElement(case, "failure", message=reason.why, type=reason.rule)
    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def annotations(result: GateResult, name: str) -> Iterator[str]:
    """GitHub's workflow commands: an error for every rule that does not hold, else one notice."""
    failed = [reason for reason in result.reasons if not reason.passed]
    for reason in failed:
        title = _property(f"{name}: {reason.rule} on {reason.where}")
        yield f"::error title={title}::{_data(reason.why)}"
    if not failed:
        yield f"::notice title={_property(name)}::{_data(f'the gate passed, {len(result.reasons)} rules')}"


def summary(result: GateResult, name: str, preset: str) -> str:
    """Markdown: the verdict, then a row a rule, those that do not hold first."""
    failed = sum(not reason.passed for reason in result.reasons)
    said = "passed" if result.passed else f"failed: {failed} of {len(result.reasons)} rules"
    rows = sorted(result.reasons, key=lambda reason: reason.passed)
    lines = [
        f"### {_cell(name)}: the gate {said}",
        "",
        f"Counted as {preset}; the bound of the 95% interval decides.",
        "",
    ]
    lines += ["| | rule | on | measured | bound | limit | why |", "| --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(_row, rows)]) + "\n"


def write_github_summary(text: str) -> Path:
    """Add ``text`` to the summary of the job. Raises :class:`RingfenceError` outside of a GitHub job."""
    named = os.environ.get(SUMMARY_VARIABLE)
    if not named:
        raise RingfenceError(
            f"--github: {SUMMARY_VARIABLE} is not set, so this is no job of GitHub's; leave it out, or set it to a file"
        )
    with Path(named).open("a", encoding="utf-8") as file:  # GitHub's own, to which every step adds
        file.write(text + "\n")
    return Path(named)


def write_junit(result: GateResult, name: str, path: Path) -> None:
    """:func:`junit` to a file, whole or not at all."""
    write_text(path, junit(result, name))


def _row(reason: Reason) -> str:
    numbers = (_percent(value) for value in (reason.value, reason.bound, reason.limit))
    verdict = "pass" if reason.passed else "**FAIL**"
    return f"| {verdict} | {_cell(reason.rule)} | {_cell(reason.where)} | {' | '.join(numbers)} | {_cell(reason.why)} |"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


def _cell(text: str) -> str:
    """A user's text in a Markdown table: no column, tag or link of its own."""
    for sign in ("\\", "|", "<", "[", "`", "*", "_"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
