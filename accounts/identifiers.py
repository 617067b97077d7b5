"""Identifiers: a short prefix and a random part that sorts by time of making."""

import re
import secrets
import time
from datetime import datetime

# Crockford's base 32 in lower case: no i, l, o, u, and its order is that of the numbers.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A new identifier such as ``job_01k9...``: 48 bits of milliseconds, 80 random (as in ULID)."""
    return _id(prefix, time.time_ns() // 1_000_000, secrets.randbits(80))


def first_id(prefix: str, at: datetime) -> str:
    """An identifier before all that are made in this millisecond or later, and after all earlier ones."""
    return _id(prefix, int(at.timestamp() * 1000), 0)


def _id(prefix: str, milliseconds: int, chance: int) -> str:
    number = milliseconds << 80 | chance
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


def draft_id() -> str:
    return new_id("drf")


def comparison_id() -> str:
    return new_id("cmp")


def listener_id() -> str:
    return new_id("lst")


def message_id() -> str:
    return new_id("msg")


def event_id() -> str:
    return new_id("evt")


def user_id() -> str:
    return new_id("usr")


def membership_id() -> str:
    return new_id("mem")


def invitation_id() -> str:
    return new_id("ivt")


def audit_event_id() -> str:
    return new_id("aud")


def impersonation_id() -> str:
    return new_id("imp")


def export_id() -> str:
    return new_id("exp")


def erasure_id() -> str:
    return new_id("era")


def price_id() -> str:
    return new_id("prc")


def credit_id() -> str:
    return new_id("crd")


def service_credit_id() -> str:
    return new_id("sla")


def invoice_id() -> str:
    return new_id("inv")


def invoice_line_id() -> str:
    return new_id("inl")


def credit_note_id() -> str:
    return new_id("cnt")


def payment_id() -> str:
    return new_id("pay")
