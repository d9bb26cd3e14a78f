"""The one console of the command line, and what every command's help ends with."""

from collections.abc import Callable
from typing import Any, TypeVar

from rich.console import Console

from ringfence.core import terminal

Command = TypeVar("Command", bound=Callable[..., Any])

console = Console(emoji=False)


def say(text: str) -> None:
    """Print ``text`` as it is: a part of it may be a user's."""
    terminal.say(console, text)


def examples(*lines: str) -> Callable[[Command], Command]:
    """Decorate a command with the examples that its ``--help`` ends with."""
    title = "Examples:" if len(lines) > 1 else "Example:"

    def keep(command: Command) -> Command:
        command.__dict__["epilog"] = "\n\n".join([title, *(f"    {line}" for line in lines)])
        return command

    return keep
