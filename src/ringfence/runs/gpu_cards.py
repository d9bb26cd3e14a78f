"""GPUs by name: memory, and the peak of a dense bfloat16 product; what a forecast is made for.

Memory is what torch reports as the card's total (``torch.cuda.mem_get_info``), which is less than the name says. Peaks
are those of NVIDIA's data sheets and architecture papers, without sparsity, with sums in float32: H100, H200 SXM 1,979
TFLOP/s with sparsity, so 989 without; A100 312; L40S 362; L4 121; A10 125; RTX 4090 165.2; RTX 5090 209.5; RTX 3090 71.
"""

import re
from dataclasses import dataclass

from ringfence.core.errors import RingfenceError, did_you_mean, shown

REACHED = 0.375
"""of the peak in the measured setting, by the operations that :class:`ringfence.runs.hours.Work` counts"""
_SEVERAL = re.compile(r"(?:(\d{1,5})x)?(.+)", re.DOTALL)


@dataclass(frozen=True)
class Card:
    """One kind of GPU."""

    name: str
    memory: float
    """GiB"""
    peak: float
    """TFLOP/s of a dense bfloat16 product; NaN where it is not known"""


CARDS = {
    card.name: card
    for card in (
        Card("h200", 139.8, 989),
        Card("h100", 79.1, 989),
        Card("a100", 79.1, 312),
        Card("a100-40gb", 39.4, 312),
        Card("l40s", 44.4, 362),
        Card("l4", 22.0, 121),
        Card("a10", 22.0, 125),
        Card("rtx5090", 31.3, 209.5),
        Card("rtx4090", 23.6, 165.2),
        Card("rtx3090", 23.6, 71),
    )
}


@dataclass(frozen=True)
class Cards:
    """What a run is to train on."""

    card: Card
    count: int | None = None
    """ranks, one a card; None is as many as this process belongs to"""


def parse_cards(text: str) -> Cards:
    """``h100``, or ``8xh100`` for eight ranks. Raises :class:`RingfenceError` with the nearest known name."""
    found = _SEVERAL.fullmatch(text.strip().lower())
    count, name = found.groups() if found else (None, text)
    name = name.replace(" ", "").replace("_", "-")
    if name not in CARDS:
        raise RingfenceError(f"--card: unknown card {shown(text)}.{did_you_mean(name, CARDS)}")
    if count is not None and int(count) < 1:
        raise RingfenceError(f"--card: {shown(text)} are no cards; give e.g. 8x{name}")
    return Cards(CARDS[name], None if count is None else int(count))


def card_here() -> Card | None:
    """The GPU that this process would train on; None where there is none."""
    import torch  # a wrong name is told before this is loaded

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Card(found.name, found.total_memory / 2**30, float("nan"))
