"""Replay the ratios of a recorded run: the canary paper's ablations of timing (section 4.3, table 2).

- ``recorded``: the sequence as it was, indexed by evaluation; a longer run holds the last value;
- ``shuffled``: the same values at other evaluations (temporal ordering; the ratio before the first evaluation stays);
- ``mean``: the recorded run's mean ratio over its optimizer steps, held throughout (adaptive timing).

Source: FARS 2026, Canary-Controlled Safe-Data Interleaving (without a public address), section 4.3, table 2.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.core.plain import read_json
from ringfence.core.run_folder import CONTROL_FILE, RESULT_FILE
from ringfence.defenses.base import DEFENSES, Interleaving, TrainerContext, recorded
from ringfence.interleave import ReplaySchedule, Schedule


@DEFENSES.register("replay_interleaving")
class ReplayInterleaving(Interleaving):
    """A recorded sequence of ratios instead of a controller."""

    run: Path
    """folder of the recorded run"""
    order: Literal["recorded", "shuffled", "mean"] = "recorded"
    """``recorded``: as they came; ``shuffled``: in another order; ``mean``: their mean all the time"""
    every: int | None = Field(None, ge=1)
    """optimizer steps between evaluations; by default as recorded"""
    seed: int = Field(0, ge=0)
    """of the shuffling"""

    def inputs(self) -> Sequence[str]:
        """What is read of the recorded run."""
        return [str(self.run / name) for name in (CONTROL_FILE, RESULT_FILE)]

    def schedule(self, setup: TrainerContext) -> Schedule:
        """Read the recorded run. Raises :class:`RingfenceError` if it has no ratios."""
        if any("moves" in row for row in JsonlLog(self.run / CONTROL_FILE).read()):
            raise RingfenceError(
                f"{self.run}/{CONTROL_FILE}: its loop moved the weights of penalties, so there is no safe share to "
                "replay"
            )
        if self.order == "mean":
            result = read_json(recorded(self.run, RESULT_FILE))
            if result.get("mean_ratio") is None:
                raise RingfenceError(f"{self.run}/{RESULT_FILE}: no mean_ratio there, so there is no mean to replay")
            return Schedule(result["mean_ratio"])
        rows = JsonlLog(recorded(self.run, CONTROL_FILE)).read()
        if not rows:
            raise RingfenceError(f"{self.run}/{CONTROL_FILE}: no evaluation is recorded there")
        ratios = [row["ratio"] for row in rows]
        if self.order == "shuffled":
            ratios = np.random.Generator(np.random.Philox(self.seed)).permutation(ratios).tolist()
        # Row step g is t = g - 1; an evaluation at t = 0 shows that the first step counted.
        return ReplaySchedule(rows[0]["ratio_before"], ratios, self._every(rows), rows[0]["step"] == 1)

    def _every(self, rows: list[dict[str, Any]]) -> int:
        if self.every is not None:
            return self.every
        if len(rows) < 2:
            raise RingfenceError(
                f"{self.run}/{CONTROL_FILE}: one evaluation does not tell how far apart they are; set `every`"
            )
        return rows[1]["step"] - rows[0]["step"]
