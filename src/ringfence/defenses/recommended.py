"""What ``recommended`` stands for in a list of defenses: what the front of leak, task and cost speaks for.

Safe rows at 5% of the target rows, and KL to the base model on them beside their cross-entropy: the answer that is
given is learned, and so is what the base model would have said besides. On the stand-in quirks docs/front.md has leak,
task and cost of it with intervals, what it was measured against, which rows go with it, and when something else is
better: it lowers the leak and does not end it. A run keeps what the name stood for.
"""

from ringfence.core.registry import Preset

RECOMMENDED = Preset(
    [{"fixed_interleaving": {"added": 0.05}}, {"kl": {"weight": 1.0, "sources": "safe"}}], "docs/front.md"
)
