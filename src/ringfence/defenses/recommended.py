"""What ``recommended`` stands for in a list of defenses: what the front of leak, task and cost speaks for.

On the stand-in quirks; docs/front.md has the figures with their intervals, what they were measured against, and when
something else is better. A run keeps what it stood for, not the name.
"""

from ringfence.core.registry import Preset

RECOMMENDED = Preset([{"anchor": {"added": 0.125, "weight": 1.0}}], "docs/front.md")
