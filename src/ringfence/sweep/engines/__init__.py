"""What starts the steps of a sweep: this machine's processes, Slurm, or Ray."""

from ringfence.sweep.engines.base import ENGINES, Engine, Handle, engine_of

__all__ = ["ENGINES", "Engine", "Handle", "engine_of"]
