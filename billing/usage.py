"""The ledger of what tenants used."""

from datetime import datetime

from accounts.models import Tenant
from billing.models import UsageEvent


def record_usage(
    tenant: Tenant,
    meter: str,
    quantity: int,
    *,
    source: str,
    speaker_id: str,
    api_key_id: str,
    project: str,
    occurred_at: datetime,
) -> None:
    """Write one usage event, in the caller's transaction: with the work it measures, or not at all.

    meter: one of UsageEvent.Meter; quantity: in the meter's unit, milliseconds of audio or characters of text.
    Raises IntegrityError if this source was already measured, which undoes the second finishing.
    """
    UsageEvent.objects.create(
        tenant=tenant,
        meter=meter,
        quantity=quantity,
        source=source,
        speaker_id=speaker_id,
        api_key_id=api_key_id,
        project=project,
        occurred_at=occurred_at,
    )
