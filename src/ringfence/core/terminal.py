"""Print text literally: no markup, so that a folder may be called ``o[/b]``, and paths stay on one line."""

from rich.console import Console


def say(console: Console, text: str) -> None:
    """Print ``text``, of which any part may be a user's, without wrapping it and without colouring what is in it."""
    console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)
