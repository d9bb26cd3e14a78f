"""Download one small file: http and https only, bounded in size and time, nothing run or unpacked."""

import http.client
import re
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from ringfence.core.errors import RingfenceError

TIMEOUT = 30.0
"""seconds for a whole download"""
_CHUNK = 65_536

# The page about a file, and the file itself.
_PAGES = (
    (re.compile(r"https?://github\.com/([^/]+/[^/]+)/(?:blob|raw)/(.+)"), r"https://raw.githubusercontent.com/\1/\2"),
    (re.compile(r"(https://huggingface\.co/.+)/blob/(.+)"), r"\1/resolve/\2"),
)


def is_address(source: str) -> bool:
    """Whether ``source`` has a scheme, as in ``https://``. A drive letter is none."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def without_secrets(address: str) -> str:
    """``address`` without query and fragment, in which access tokens are."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def raw_address(address: str) -> str:
    """The address of the file itself, where ``address`` is its page on GitHub or on the Hugging Face hub."""
    bare = without_secrets(address)
    for page, raw in _PAGES:
        if page.fullmatch(bare):
            return page.sub(raw, bare)
    return address


def download(address: str, limit: int, instead: str) -> tuple[str, bytes]:
    """The address that the file was fetched from, and its bytes, of which there may be ``limit``.

    Raises :class:`RingfenceError` for another scheme, a password in the address, a file that is too large or slow, a
    web page, and with ``instead``, a command that takes a FILE, where the address cannot be reached.
    """
    address = raw_address(address)
    _require_web(address)
    opener = urllib.request.build_opener(_WebOnly)
    request = urllib.request.Request(address, headers={"User-Agent": "ringfence"})
    shown = without_secrets(address)
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            content = _read(response, limit, shown)
    except urllib.error.HTTPError as error:
        raise RingfenceError(f"{shown}: the server answers {error.code} {error.reason}: check the address.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, RingfenceError):
            raise
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        how = f"where there is a network, save the file, and run `{instead}` on it"
        raise RingfenceError(f"{shown}: cannot download ({reason}): {how}.") from error
    if content[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise RingfenceError(f"{shown}: this is a web page: give the address of the file itself (its Raw button).")
    return address, content


def _require_web(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise RingfenceError(f"{without_secrets(address)}: only http:// and https:// addresses can be fetched.")
    if parts.username or parts.password:
        raise RingfenceError(f"{parts.hostname}: a password in an address would be kept: save the file, give its path.")


def _read(response: http.client.HTTPResponse, limit: int, shown: str) -> bytes:
    """All of ``response``. Raises :class:`RingfenceError` past ``limit`` bytes, and past :data:`TIMEOUT`."""
    deadline, parts, size = time.monotonic() + TIMEOUT, [], 0
    while part := response.read1(_CHUNK):  # what is there, so that a trickle meets the deadline, too
        parts.append(part)
        size += len(part)
        if size > limit:
            raise RingfenceError(f"{shown}: more than {limit // 1_000_000} MB, which no file of questions is.")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not finished after {TIMEOUT:.0f} seconds")
    return b"".join(parts)


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only, and none from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        _require_web(newurl)
        if req.type == "https" and urlsplit(newurl).scheme.lower() == "http":
            raise RingfenceError(f"{without_secrets(req.full_url)}: leads from https to http: give the final address.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
