"""The ledger of what tenants used, and the running total that prices and caps go by."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from accounts.models import Tenant
from accounts.prepared import NewRows, as_stored, insert_rows
from billing.accounts import account_of, audio_between, held_account, parts_of
from billing.models import BillingAccount, Price, UsageEvent
from billing.periods import Month
from billing.pricing import price_audio


@dataclass(frozen=True)
class Measurement:
    """meter: one of UsageEvent.Meter; quantity: in the meter's unit, such as milliseconds of audio or
    characters of text.
    """

    meter: str
    quantity: int
    speaker_id: str = ""


@dataclass(frozen=True)
class Charge:
    """What some usage costs, in minor units, not rounded: invoices round a line once, as a whole."""

    amount: Decimal
    currency: str


def record_usage(
    tenant: Tenant,
    measured: Iterable[Measurement],
    *,
    source: str,
    occurred_at: datetime,
    api_key_id: str = "",
    project: str = "",
    charged: Callable[[Charge], None] = lambda charge: None,
) -> Charge:
    """Write what a piece of work used, in the caller's transaction: with the work, or not at all.

    Returns what its audio costs beyond what was used before it in the same part of the month, so that
    the charges of a part add up to its price. charged: is told so before anything is written; what it
    raises undoes all.

    Raises IntegrityError if this source was already measured, which undoes the second finishing.
    """
    measured = list(measured)
    audio_ms = sum(one.quantity for one in measured if one.meter == UsageEvent.Meter.AUDIO_MS)
    charge = _charge(tenant, audio_ms, occurred_at)
    charged(charge)
    common = {
        "tenant_id": tenant.pk,
        "source": source,
        "api_key_id": api_key_id,
        "project": project,
        "occurred_at": occurred_at,
    }
    insert_rows(NewRows(UsageEvent, [common | vars(one) for one in measured]))
    return charge


def correct_usage(
    event: UsageEvent, quantity: int, *, reason: str, occurred_at: datetime
) -> Charge:
    """Take back a part of an event, or add to it, by another event. Inside a transaction.

    quantity: the difference. reason: a word, which makes the correction one of its kind.
    """
    return record_usage(
        event.tenant,
        [Measurement(event.meter, quantity, event.speaker_id)],
        source=f"{reason}:{event.pk}",
        occurred_at=occurred_at,
        api_key_id=event.api_key_id,
        project=event.project,
    )


def _charge(tenant: Tenant, audio_ms: int, at: datetime) -> Charge:
    """Add audio to the running part of the month. Its events are not in the ledger yet."""
    found = _add(tenant.pk, audio_ms, at)
    if found is None:
        account_of(tenant, at)
        row = held_account(tenant.pk, at)
        if at < row.since:
            return _charge_before(row, audio_ms, at)
        found = _add(tenant.pk, audio_ms, at)
        assert found is not None
    used_ms, included_ms, price_id, currency = found
    price = _price(price_id)
    return Charge(
        price_audio(audio_ms, price.tariff, included_ms, after_ms=used_ms - audio_ms), currency
    )


def _add(tenant_id: str, audio_ms: int, at: datetime) -> tuple[int, int, str, str] | None:
    """One statement, which holds the account until the transaction ends: who comes next goes on from
    here. None: the running part is another.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_billingaccount SET audio_ms = audio_ms + %s "
            "WHERE tenant_id = %s AND since <= %s AND until > %s "
            "RETURNING audio_ms, included_ms, price_id, currency",
            [audio_ms, tenant_id, as_stored(at), as_stored(at)],
        )
        row: tuple[int, int, str, str] | None = cursor.fetchone()
    return row


def _charge_before(account: BillingAccount, audio_ms: int, at: datetime) -> Charge:
    """Of work that ended before the running part began, and is written down only now."""
    month = Month.containing(at, account.time_zone)
    part = next((part for part in parts_of(account, month) if part.start <= at < part.end), None)
    if part is None:
        return Charge(Decimal(0), account.currency)
    used_ms = audio_between(account.tenant_id, part.start, part.end)
    amount = price_audio(audio_ms, part.price.tariff, part.included_ms, after_ms=used_ms)
    if month == Month.containing(account.since, account.time_zone):
        account.spent_before += amount
        account.save(update_fields=["spent_before"])
    return Charge(amount, account.currency)


# Prices are never changed, so that they can be remembered.
_prices: dict[str, Price] = {}


def _price(price_id: str) -> Price:
    if price_id not in _prices:
        _prices[price_id] = Price.objects.get(pk=price_id)
    return _prices[price_id]
