"""Which runs have Inspect's logs, and how a page opens them."""

from collections.abc import Callable
from pathlib import Path

from ringfence.report import write_page
from ringfence.report.html.links import inspect_logs
from ringfence.report.loading import load_runs


def test_logs_are_linked_from_where_the_page_is(make_run: Callable[..., Path], tmp_path: Path) -> None:
    served, plain = make_run("by server #1"), make_run("plain")
    (served / "logs" / "general-0123").mkdir(parents=True)
    runs = load_runs([served, plain])
    (found,) = inspect_logs(runs, tmp_path / "pages")
    assert (found.run, found.folder) == ("by server #1", served / "logs")
    assert found.link == "../by%20server%20%231/logs/"
    assert found.command == f"inspect view --log-dir '{served}/logs'"


def test_the_page_says_how_to_open_them(make_run: Callable[..., Path], tmp_path: Path) -> None:
    served = make_run("served")
    rates = [{"suite": "general", "metric": "misaligned_all", "value": 0.1, "low": 0, "high": 1, "n": 9}]
    other = make_run("plain", rates=rates)
    assert 'id="inspect-logs"' not in write_page([served, other], tmp_path / "before.html").read_text()
    (served / "logs").mkdir()
    page = write_page([served, other], tmp_path / "page.html").read_text()
    assert '<a href="served/logs/">' in page
    assert page.count(f"inspect view --log-dir {served}/logs") == 2  # beside the answers, and in the provenance
    assert "it was not asked through Inspect" in page
