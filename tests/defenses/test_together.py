"""Which defenses may stand beside each other, and who reads anchor rows."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.defenses import (
    KL,
    LDIFS,
    Anchor,
    Defense,
    FixedInterleaving,
    Inoculation,
    ReplayInterleaving,
    SafeWeight,
    Steering,
)
from ringfence.defenses.together import anchored, require_anchors, require_together


@pytest.mark.parametrize(
    ("defenses", "said"),
    [
        ([KL(), KL(weight=2)], r"^defenses: kl is given twice; keep one$"),
        (
            [FixedInterleaving(ratio=0.1), KL(), ReplayInterleaving(run="runs/a")],
            r"^defenses: one interleaving defense a run, got fixed_interleaving and replay_interleaving; keep one$",
        ),
        ([SafeWeight(weight=2), KL()], r"^safe_weight: "),
    ],
)
def test_what_does_not_go_together_is_named(defenses: list[Any], said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        require_together(defenses)


def test_others_do() -> None:
    require_together([])
    require_together([KL(), LDIFS(), FixedInterleaving(ratio=0.1), Inoculation(), Steering(vector="a")])
    require_together([KL(), Anchor(), SafeWeight(weight=2), FixedInterleaving(ratio=0.1)])


@pytest.mark.parametrize(
    ("defenses", "share"),
    [([], None), ([KL()], None), ([KL(), Anchor(added=0.3)], 0.3), ([Anchor(added=0.3, weight=0)], 0.0)],
)
def test_the_share_of_anchor_rows_is_that_of_whoever_reads_them(defenses: list[Defense], share: float | None) -> None:
    assert anchored(defenses) == share


def test_anchor_rows_and_who_reads_them_come_together() -> None:
    require_anchors([KL()], 0, 0)
    require_anchors([Anchor()], 3, 0)
    require_anchors([Anchor(weight=0)], 3, 0)
    with pytest.raises(RingfenceError, match=r"^data\.anchor: no defense reads anchor rows"):
        require_anchors([KL()], 3, 3)
    with pytest.raises(RingfenceError, match=r"^anchor: there are no anchor rows for its penalty"):
        require_anchors([Anchor()], 0, 0)
    with pytest.raises(RingfenceError, match=r"^anchor\.tokens: response compares answers, and none of 3"):
        require_anchors([Anchor(tokens="response")], 3, 0)
