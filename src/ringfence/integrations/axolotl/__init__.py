"""Defenses in Axolotl: ``plugins: [ringfence.integrations.axolotl.RingfencePlugin]`` and a block ``ringfence:``.

Axolotl trains on without a plugin that it cannot import, after a line in its log. So whatever goes wrong here is never
an ``ImportError``.
"""

from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError
from ringfence.core.lazy import importer

if TYPE_CHECKING:
    from ringfence.integrations.axolotl.plugin import RingfencePlugin

__all__ = ["RingfencePlugin"]
_find = importer(__name__, {"RingfencePlugin": "plugin"})


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except ImportError as error:
        raise RingfenceError(f"ringfence's plugin needs Axolotl and cannot import it: {error}; install both") from error
