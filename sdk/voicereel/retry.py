"""When to try again, and how long to wait before it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
MAX_BACKOFF_S = 30.0
MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """At most `max_retries` more attempts, the first after up to `backoff_s` seconds."""

    max_retries: int
    backoff_s: float

    def pause(self, failures: int, server_asks_s: float | None) -> None:
        """Sleep before the next attempt, after `failures` (1 or more) failed ones.

        The pause is exponential with full jitter, and no shorter than the server asks
        for (`Retry-After`, capped at one minute).
        """
        jitter_s = random.uniform(0, min(MAX_BACKOFF_S, self.backoff_s * 2 ** (failures - 1)))
        time.sleep(max(jitter_s, min(server_asks_s or 0.0, MAX_RETRY_AFTER_S)))


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header (seconds or HTTP date) asks for; None if unreadable."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
