"""Whether the Hugging Face hub answers, looked at once, and whether it can be written to.

Its client alone would try for over a minute, file by file.
"""

import logging
import ssl
import sys
import urllib.error
import urllib.request
from functools import cache

SECONDS = 5.0
"""to wait for an answer"""
logger = logging.getLogger(__name__)


@cache
def offline_if_unreachable() -> None:
    """Where the hub does not answer, take only what is cached in this process; so what is not raises at once."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
        return
    logger.warning("%s does not answer within %.0f s: only what is cached is used", constants.ENDPOINT, SECONDS)
    constants.HF_HUB_OFFLINE = True
    if (config := getattr(sys.modules.get("datasets"), "config", None)) is not None:
        config.HF_HUB_OFFLINE = True


def missing_to_write() -> str | None:
    """What this machine lacks to write to the hub; None if nothing."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return "a network, and HF_HUB_OFFLINE is set"
    return "a token in HF_TOKEN" if get_token() is None else None


def _answers(address: str) -> bool:
    """Whether anything comes back, be it an error: proxies of the environment are used, as the client does."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the client may know certificates that we do not
    except OSError:
        return False
    return True
