"""Tables and the HTML page: reads run folders only."""

from ringfence.report.html.page import write_page
from ringfence.report.loading import load_run, load_runs
from ringfence.report.results import RunResult
from ringfence.report.tables import comparison
from ringfence.report.terminal.runs import render

__all__ = ["RunResult", "comparison", "load_run", "load_runs", "render", "write_page"]
