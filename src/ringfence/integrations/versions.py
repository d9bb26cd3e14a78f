"""Which version of another program an integration was made for."""

import importlib.metadata

from ringfence.core.errors import RingfenceError


def require_made_for(program: str, minor: str, any_version: bool, how: str) -> None:
    """Raise :class:`RingfenceError` unless the installed ``program`` is of the version ``minor``, or any will do.

    ``how`` says how one asks for any.
    """
    found = importlib.metadata.version(program)
    if any_version or ".".join(found.split(".")[:2]) == minor:
        return
    raise RingfenceError(
        f"{program} {found}: ringfence was made for {minor}, and another version may train without a defense; "
        f'pip install "{program}=={minor}.*", or {how} and look at safe_rows in result.json'
    )
