"""Which process of a distributed run this is, by what its launcher says in the environment; without torch."""

import os


def is_main_process() -> bool:
    """Whether this process speaks for all ranks; True without a launcher."""
    return int(os.environ.get("RANK", "0")) == 0


def is_split_run() -> bool:
    """Whether the launcher asks for FSDP, which takes to each GPU its part of weights that are on the CPU."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes")


def several_ranks() -> bool:
    """Whether a launcher has started more than one process of this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def several_nodes() -> bool:
    """Whether ranks are on more than one machine."""
    world = os.environ.get("WORLD_SIZE", "1")
    return world != os.environ.get("LOCAL_WORLD_SIZE", world)
