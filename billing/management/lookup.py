"""What operators' commands name, found or refused in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.core.management.base import CommandError
from django.utils import timezone

from accounts.models import Tenant
from billing.models import Invoice
from billing.periods import Month
from voicereel_site.errors import Refusal


def tenant_of(tenant_id: str) -> Tenant:
    """Raises CommandError."""
    try:
        return Tenant.objects.get(pk=tenant_id)
    except Tenant.DoesNotExist as exc:
        raise CommandError(f"There is no tenant {tenant_id}.") from exc


def invoice_of(name: str) -> Invoice:
    """By its number or its id. Raises CommandError."""
    found = Invoice.objects.filter(number=name).first() or Invoice.objects.filter(pk=name).first()
    if found is None:
        raise CommandError(f"There is no invoice {name}. Name it as VR2026-000001 or inv_....")
    return found


def month_of(text: str, zone: str = "Asia/Seoul") -> Month:
    """``2026-11``, of our own books. Raises CommandError."""
    try:
        return Month.parse(text, zone)
    except ValueError as exc:
        raise CommandError(f"{text} is no month. Name it as 2026-11.") from exc


def instant_of(text: str) -> datetime:
    """ISO 8601, with a time zone. Raises CommandError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise CommandError(f"{text} is no time. Write it as 2026-12-01T00:00:00+09:00.") from exc
    if at.tzinfo is None:
        raise CommandError(f"{text} names no time zone. Write 2026-12-01T00:00:00+09:00.")
    return at.astimezone(timezone.get_default_timezone())


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """A refusal is the command's own."""
    try:
        yield
    except Refusal as refusal:
        raise CommandError(refusal.detail) from refusal
