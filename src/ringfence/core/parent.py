"""A process that leaves with its parent: what a runner of jobs starts does not outlive it."""

import os
import threading

LEAVE = "RINGFENCE_EXIT_WITH_STDIN"
"""environment variable that asks for it"""


def leave_with_parent(code: int) -> None:
    """Leave with ``code`` when the parent does, however it ends: its end of our standard input closes.

    Does nothing unless :data:`LEAVE` is set.
    """

    def wait() -> None:
        while os.read(0, 1024):  # past Python's own buffer, whose lock would be held when this process ends
            pass
        os._exit(code)

    if os.environ.get(LEAVE):
        threading.Thread(target=wait, daemon=True).start()
