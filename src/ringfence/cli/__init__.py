"""The command line: one module a command, and their tree in ``app``."""

from ringfence.cli.app import main

__all__ = ["main"]
