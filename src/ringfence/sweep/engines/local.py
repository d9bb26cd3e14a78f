"""Processes of this machine: as many at a time as it has GPUs, each with one; without GPUs as many as cores.

They end when the driver does, however it ends.
"""

import os
import subprocess
from pathlib import Path

from ringfence.sweep.runner import Command, cores
from ringfence.sweep.steps import LOG

_TASK = ("-m", "ringfence.sweep.task")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalEngine:
    """Local processes; ``jobs`` of them at a time share the GPUs if there are fewer."""

    def __init__(self, jobs: int | None = None) -> None:
        self.gpus = gpus()
        self.slots = jobs or len(self.gpus) or cores()
        self._held: dict[str, int] = dict.fromkeys(self.gpus, 0)

    def start(self, folder: Path) -> "LocalTask":
        """In a process of its own, on the GPU that has the fewest."""
        card = min(self._held, key=lambda one: self._held[one], default=None)
        environment = {} if card is None else {_VISIBLE: card}
        if card is not None:
            self._held[card] += 1
        return LocalTask(self, Command([*_TASK, str(folder)], folder / LOG, environment), card)

    def release(self, card: str | None) -> None:
        """A task on ``card`` has ended."""
        if card is not None:
            self._held[card] -= 1

    def close(self) -> None:
        """Nothing is held."""


class LocalTask:
    """A process."""

    def __init__(self, engine: LocalEngine, command: Command, card: str | None) -> None:
        self._engine, self._command, self._card = engine, command, card
        self._over = False

    def has_ended(self) -> bool:
        """Whether the process has."""
        return self._command.has_ended

    def fault(self) -> str:
        """The last line that it printed if it failed."""
        self._leave()
        return self._command.fault()

    def stop(self) -> None:
        """End the process, and with it its command."""
        self._leave()
        self._command.stop()

    def _leave(self) -> None:
        if not self._over:
            self._engine.release(self._card)
        self._over = True


def gpus() -> list[str]:
    """What to set ``CUDA_VISIBLE_DEVICES`` to for each GPU that this process may use; asked without loading torch."""
    if given := os.environ.get(_VISIBLE):
        return [one.strip() for one in given.split(",") if one.strip() not in ("", "-1")]
    if _VISIBLE in os.environ:
        return []
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in found.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))] if found.returncode == 0 else []
