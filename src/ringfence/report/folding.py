"""Replace tables of rates by one sentence where they are all zeros or repeat another table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ringfence.report import formatting as wording
from ringfence.report.results import LEAK_METRIC


def folded(frame: pd.DataFrame) -> Mapping[str, str]:
    """Metric -> the sentence that stands for its rows of the comparison ``frame``; the leak's own are never folded."""
    sentences, shown = dict[str, str](), dict[str, pd.DataFrame]()
    for metric, rows in frame.groupby("metric", sort=False):
        name = str(metric)
        again = next((other for other, block in shown.items() if _same(rows, block)), None)
        if name != LEAK_METRIC and rows["value"].notna().any() and (rows["value"].fillna(0) == 0).all():
            top = rows["high"].max()
            bound = "" if pd.isna(top) else f"; the highest upper bound is {wording.percent(top)}%"
            sentences[name] = f"{wording.metric_title(name)}: 0.0% on every suite of every run{bound}."
        elif again is not None:
            sentences[name] = (
                f"{wording.metric_title(name)}: the same as of all scored, since every scored answer was coherent."
                if (again, name) == (LEAK_METRIC, "misaligned_coherent")
                else f"{wording.metric_title(name)}: the same numbers as {wording.metric_title(again)}."
            )
        else:
            shown[name] = rows
    return sentences


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether both have the same rates of the same answers, run by run and suite by suite."""
    if not one["value"].notna().any() or len(one) != len(other):
        return False
    named = [table.set_index(["run", "suite"])[["value", "n"]].astype(float).sort_index() for table in (one, other)]
    if not named[0].index.equals(named[1].index):
        return False
    measured = named[0]["value"].notna()  # what only the other one has is shown there
    return np.array_equal(named[0][measured].to_numpy(), named[1][measured].to_numpy())
