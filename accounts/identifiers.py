"""Identifiers: a short prefix and a random part that sorts by time of making."""

import re
import secrets
import time

# Crockford's base 32 in lower case: no i, l, o, u, and its order is that of the numbers.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A new identifier such as ``job_01k9...``: 48 bits of milliseconds, 80 random (as in ULID)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"


_ID = re.compile(rf"[a-z]{{3}}_[{_ALPHABET}]{{26}}")


def is_id(text: str) -> bool:
    """Whether a text has the form of our identifiers."""
    return _ID.fullmatch(text) is not None


def tenant_id() -> str:
    return new_id("ten")


def key_id() -> str:
    return new_id("key")


def speaker_id() -> str:
    return new_id("spk")


def job_id() -> str:
    return new_id("job")


def webhook_endpoint_id() -> str:
    return new_id("whe")


def message_id() -> str:
    return new_id("msg")


def event_id() -> str:
    return new_id("evt")
