"""What Inspect AI finds of Ringfence by entry point: the model provider ``ringfence/...``, tasks and a scorer.

Inspect imports this package whenever it looks a name up, for models of others too, so nothing here imports torch
before it is used. Needs the extra: ``pip install -c constraints.txt '.[inspect]'`` in a clone.
"""

from ringfence.integrations.inspect.provider import RingfenceAPI
from ringfence.integrations.inspect.scorer import judged, rates
from ringfence.integrations.inspect.tasks import general, general_long, suite

__all__ = ["RingfenceAPI", "general", "general_long", "judged", "rates", "suite"]
