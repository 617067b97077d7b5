"""The keys that this process has seen lately, so that not each request asks the database for its own.

A remembered key is believed only if its tenant's version, which the request learns as it takes its token
from the bucket (accounts.limits), is the one that it was remembered with. Whatever changes a key or its
tenant changes the version, so a revoked key is refused by all processes from the next request on. Where
processes share no bucket, nothing is remembered.
"""

import hashlib
import threading
import time
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from accounts.limits import foresee_request
from accounts.models import ApiKey

_REMEMBERED_S = 30.0
_MOST = 10_000
_BEARER = len("Bearer ")


@dataclass(frozen=True)
class KnownKey:
    """row: with its tenant, shared by the threads of this process."""

    row: ApiKey
    version: str  # of the tenant when the row was read; "": it was not known
    until: float  # by time.monotonic()


class KnownKeys:
    """By a hash of the key: no key of a customer's stays in memory."""

    def __init__(self) -> None:
        self._keys: dict[bytes, KnownKey] = {}
        self._lock = threading.Lock()
        self._swept_at = time.monotonic()

    def get(self, key: str) -> KnownKey | None:
        """What is remembered of a key, true or not any more."""
        known = self._keys.get(_hash(key))
        return known if known is not None and known.until > time.monotonic() else None

    def put(self, key: str, row: ApiKey, version: str) -> None:
        """Remember a row that was read after the version was."""
        now = time.monotonic()
        with self._lock:
            if now - self._swept_at > _REMEMBERED_S or len(self._keys) >= _MOST:
                # New ones come in their place; nobody's data outlives its time here.
                fresh = {name: known for name, known in self._keys.items() if known.until > now}
                self._keys = fresh if len(fresh) < _MOST else {}
                self._swept_at = now
            self._keys[_hash(key)] = KnownKey(row, version, now + _REMEMBERED_S)

    def forget(self, key: str) -> None:
        """What was remembered of a key is not true any more."""
        self._keys.pop(_hash(key), None)

    def clear(self) -> None:
        """Forget all."""
        self._keys = {}


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


known_keys = KnownKeys()


_FORESEEN = "voicereel.known_key"


def foresee_key(environ: dict[str, Any]) -> None:
    """Have what a request with an ``Authorization`` is going to ask be asked already, if its key is known.

    environ: the request's, by WSGI.
    """
    key = environ["HTTP_AUTHORIZATION"][_BEARER:].strip()
    environ[_FORESEEN] = known = known_keys.get(key)
    if known is not None:
        foresee_request(known.row.tenant)


def known_of(request: HttpRequest, key: str) -> KnownKey | None:
    """What is remembered of a request's key."""
    if _FORESEEN in request.META:
        known: KnownKey | None = request.META[_FORESEEN]
        return known
    return known_keys.get(key)
