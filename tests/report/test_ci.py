"""The gate's answer as JUnit XML, GitHub annotations and a job summary, read back by independent means."""

import math
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.evaluate.gate import GateResult, Reason
from ringfence.report import ci

GOOD = Reason("max_general", "general", 0.01, 0.03, 0.05, True, "1.0% of 300 answers")
BAD = Reason("max", "dressed|up, <b>", 0.4, 0.5, 0.1, False, "40%: too much\nof it")
UNKNOWN = Reason("min_in_domain", "in-domain", math.nan, math.nan, 0.8, False, "no answers on in-domain")
RESULT = GateResult(False, (GOOD, BAD, UNKNOWN))


def test_junit_has_a_test_a_rule() -> None:
    """What does not hold is a failure with its reason; text of a user's is escaped."""
    suite = Xml.fromstring(ci.junit(RESULT, "kl & co"))
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("ringfence gate kl & co", "3", "2")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["general", "dressed|up, <b>", "in-domain"]
    assert [case.find("failure") is not None for case in cases] == [False, True, True]
    failure = cases[1].find("failure")
    assert failure is not None
    assert "too much" in (failure.get("message") or "")


def test_annotations_are_one_line_each() -> None:
    """GitHub ends a command at a line break, and its properties at a comma or colon."""
    lines = list(ci.annotations(RESULT, "kl"))
    assert lines[0] == "::error title=kl%3A max on dressed|up%2C <b>::40%25: too much%0Aof it"
    assert len(lines) == 2
    assert list(ci.annotations(GateResult(True, (GOOD,)), "kl")) == ["::notice title=kl::the gate passed, 1 rules"]


def test_the_summary_begins_with_what_fails() -> None:
    """A row a rule with as many cells as the head; NaN is empty."""
    lines = ci.summary(RESULT, "kl", "kaczer").splitlines()
    assert lines[0] == "### kl: the gate failed: 2 of 3 rules"
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| **FAIL**", "| **FAIL**", "| pass"]
    assert r"dressed\|up, \<b>" in rows[0]
    assert "|  |  | 80.0% |" in rows[1]


def test_the_summary_is_added_to_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And outside of a job nothing is guessed."""
    monkeypatch.setenv(ci.SUMMARY_VARIABLE, str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    ci.write_github_summary("more")
    assert (tmp_path / "summary.md").read_text() == "before\nmore\n"
    monkeypatch.delenv(ci.SUMMARY_VARIABLE)
    with pytest.raises(RingfenceError, match=r"--github: GITHUB_STEP_SUMMARY is not set"):
        ci.write_github_summary("more")
