"""Server addresses, and which API key may go to which: only the user's own configuration decides.

An address is scheme, host and port. Some pairs of address and environment variable are known to everybody: the key may
go there, but no run folder may have it called by that. The user's own are in ``RINGFENCE_JUDGES``: addresses with a
space between, each with the variable whose key it gets, if any::

    export RINGFENCE_JUDGES='https://judge.example.com=JUDGE_KEY http://localhost:8000'
"""

import os
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from ringfence.core.errors import RingfenceError

VARIABLE = "RINGFENCE_JUDGES"
KNOWN = {
    "https://api.openai.com": "OPENAI_API_KEY",
    "https://api.anthropic.com": "ANTHROPIC_API_KEY",
    "https://api.deepseek.com": "DEEPSEEK_API_KEY",
    "https://api.groq.com": "GROQ_API_KEY",
    "https://api.mistral.ai": "MISTRAL_API_KEY",
    "https://api.together.xyz": "TOGETHER_API_KEY",
    "https://openrouter.ai": "OPENROUTER_API_KEY",
}
"""address -> the variable that its users keep their key in"""
_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """The address that ``url`` is at: ``scheme://host``, with the port where it is not the scheme's own.

    Raises ``ValueError``, which says nothing of what ``url`` holds, for what is no plain address: a name, a password or
    a key may be in it.
    """
    parts, port = _split(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _split(url: str) -> tuple[SplitResult, int | None]:
    plain = all("!" <= character <= "~" for character in url) and "\\" not in url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("give an address such as http://localhost:8000/v1") from None
    if not plain or parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("give an address such as http://localhost:8000/v1")
    if "@" in url:
        raise ValueError("leave name and password out, since the address is written into results; see api_key_env")
    if "?" in url or "#" in url:
        raise ValueError("leave out what follows ? or #, since the address is written into results; see api_key_env")
    return parts, port


def users_own() -> dict[str, str | None]:
    """Address -> environment variable of its key, as ``RINGFENCE_JUDGES`` has them; None for a server without a key.

    Raises :class:`RingfenceError`, without the setting's text, for what is no list of addresses.
    """
    found: dict[str, str | None] = {}
    for number, one in enumerate(os.environ.get(VARIABLE, "").split(), 1):
        url, _, variable = one.partition("=")
        try:
            at = origin(url)
        except ValueError as error:
            raise RingfenceError(f"{VARIABLE}: entry {number} is no address: {error}") from None
        if variable and not variable.isidentifier():
            raise RingfenceError(f"{VARIABLE}: entry {number} is to be ADDRESS=VARIABLE, with a variable's name")
        found[at] = variable or None
    return found


def variable_of(url: str) -> str | None:
    """The environment variable whose key goes to ``url`` if nobody names one; the user's own goes before the known."""
    at = origin(url)
    return users_own().get(at) or KNOWN.get(at)


def is_paired(variable: str, url: str) -> bool:
    """Whether the key in ``variable`` may go to ``url``."""
    at = origin(url)
    return variable in (KNOWN.get(at), users_own().get(at))


def is_named(url: str, allowed: Iterable[str] = ()) -> bool:
    """Whether ``url`` is at one of the ``allowed`` addresses or at one of the user's own.

    That everybody knows an address is no leave: a call of it costs the user money.
    """
    return origin(url) in {*map(origin, allowed), *users_own()}


def entry_of(url: str) -> str:
    """What ``RINGFENCE_JUDGES`` is to have for ``url``; with the variable that its key is in, if that is known."""
    variable = variable_of(url)
    return origin(url) + (f"={variable}" if variable else "")
