"""One quick question before anything waits for a hub."""

from __future__ import annotations

import functools
import urllib.error
import urllib.request

SECONDS = 3.0


@functools.cache
def is_reachable(url: str) -> bool:
    """Whether a server answers within three seconds; asked once a process, proxies included."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS)
    except urllib.error.HTTPError:
        return True  # an answer, if not a friendly one
    except (OSError, ValueError):
        return False
    return True
