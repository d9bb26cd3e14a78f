"""Training at a server that speaks the protocol of Tinker's SDK, with defenses that need rows and log probabilities.

The server holds the model; it takes rows with a weight for each token, and gives log probabilities. So a defense that
says which rows come and when, what they read and how much they count works as it does here, and one that looks into the
model or at whole distributions raises. ``ringfence train RECIPE --tinker URL`` is the same as ``train`` below.
"""

from typing import TYPE_CHECKING

from ringfence.core.lazy import importer

if TYPE_CHECKING:
    from ringfence.integrations.tinker.trainer import train

_MODULES = {"train": "trainer"}
__all__ = ["train"]
__getattr__ = importer(__name__, _MODULES)
