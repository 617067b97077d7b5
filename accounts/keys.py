"""API keys: ``vr_live_<8 characters of public id>_<43 secret><6 of checksum>``.

The shape follows GitHub's tokens (github.blog, 2021-04-05): a prefix that scanners find, and a
CRC-32 that tells a mistyped or invented key without asking the database. A secret of 256 random
bits needs no slow hash: an HMAC under a pepper that is not in the database is enough.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib

from django.conf import settings

from accounts.models import ApiKey, Tenant

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_PATTERN = re.compile(r"vr_(live|test)_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    """CRC-32 of everything before it, as six base-62 digits."""
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _digest(key: str) -> str:
    return hmac.new(settings.API_KEY_PEPPER.encode(), key.encode(), hashlib.sha256).hexdigest()


def issue_key(tenant: Tenant, *, label: str = "", live: bool = True) -> tuple[ApiKey, str]:
    """Make a key. Returns its row and the key itself, which nobody can read again."""
    public_id = _random(8)
    body = f"vr_{'live' if live else 'test'}_{public_id}_{_random(43)}"
    key = body + _checksum(body)
    row = ApiKey.objects.create(
        tenant=tenant, public_id=public_id, digest=_digest(key), label=label, live=live
    )
    return row, key


def find_key(key: str) -> ApiKey | None:
    """The row of a key that is whole, known and not revoked."""
    match = KEY_PATTERN.fullmatch(key)
    if match is None or not hmac.compare_digest(_checksum(key[:-6]), key[-6:]):
        return None
    # Before the tenant is known there is nothing to scope by: the public id is unique over all.
    row = ApiKey.objects.select_related("tenant").filter(public_id=match.group(2)).first()
    if row is None or not hmac.compare_digest(row.digest, _digest(key)) or row.revoked_at:
        return None
    return row
