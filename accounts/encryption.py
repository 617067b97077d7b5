"""What must be read again and yet not stand in the database: encrypted with keys that are not there.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. A text is bound to its row: moved to
another, it does not open.
"""

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_NONCE_BYTES = 12
_NAME_BYTES = 4  # of a key's hash, which say which of several keys it was


class Undecipherable(Exception):
    """Encrypted with none of the keys that are set, or for another row."""


def _keys() -> dict[bytes, AESGCM]:
    """By name, the one that encrypts first. The settings are random and long, so a hash makes a key."""
    found = {}
    for text in settings.ENCRYPTION_KEYS:
        key = hashlib.sha256(text.encode()).digest()
        found[hashlib.sha256(key).digest()[:_NAME_BYTES]] = AESGCM(key)
    return found


def encrypt(plain: bytes, row_id: str) -> bytes:
    """Encrypt for one row, with the first of the keys."""
    name, key = next(iter(_keys().items()))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return name + nonce + key.encrypt(nonce, plain, row_id.encode())


def decrypt(sealed: bytes, row_id: str) -> bytes:
    """What was encrypted for this row. Raises Undecipherable."""
    name, rest = sealed[:_NAME_BYTES], sealed[_NAME_BYTES:]
    key = _keys().get(name)
    if key is None:
        raise Undecipherable("VOICEREEL_ENCRYPTION_KEYS lacks the key of this text.")
    try:
        return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], row_id.encode())
    except InvalidTag as exc:
        raise Undecipherable("Damaged, or of another row.") from exc
