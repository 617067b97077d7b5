"""The ledger, and what is made of it: sums that agree, lines that bill each event once, and rows that
nobody changes.
"""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import pytest
from django.contrib import admin
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from django.test import RequestFactory
from django.utils import timezone

from accounts.tenancy import acting_for
from billing.accounts import parts_of
from billing.closing import find_mismatches
from billing.invoicing import credit_invoice, draft_invoice, finalize_invoice, void_invoice
from billing.models import (
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceLineEvent,
    Payment,
    Price,
    RollupMark,
    UsageEvent,
    UsageRollup,
)
from billing.money import half_up
from billing.periods import Month
from billing.pricing import Step, price_audio
from billing.rollups import (
    Granularity,
    count_usage,
    ledger_sums,
    mismatches,
    rebuild_rollups,
    sums_between,
)
from billing.usage import correct_usage
from tests.billing.conftest import MINUTE, account, at
from tests.conftest import Api

Make: TypeAlias = Callable[..., Any]
NOW = timedelta(0)

# Together a thousand months; on PostgreSQL, beside that, a hundred.
ZONES = ["UTC", "Asia/Seoul", "America/New_York", "Asia/Kolkata"]
MONTHS_OF_EACH = 250


@pytest.mark.parametrize("zone", ZONES)
def test_a_thousand_random_months_add_up(customer: Make, use: Make, clock: Any, zone: str) -> None:
    chance = random.Random(zone)
    currency = chance.choice(["USD", "EUR", "KRW"])
    alder = customer("2026-01-05T00:00Z", currency=currency, time_zone=zone)
    month = Month(2026, 1, zone)
    clock.move_to(month.start)
    for _ in range(MONTHS_OF_EACH if connection.vendor == "sqlite" else 25):
        length_s = (month.end - month.start).total_seconds()
        for _ in range(chance.randrange(4)):
            when = month.start + timedelta(seconds=chance.uniform(0, length_s - 1))
            late_by = timedelta(days=chance.choice([0, 0, 0, 0, 40]))
            ms = round(10 ** chance.uniform(0, 8.5))
            use(alder, when.isoformat(), ms=ms, reported=(when + late_by).isoformat())
        clock.move_to(month.end + timedelta(days=2, hours=1))
        invoice = draft_invoice(alder.tenant, month)
        if invoice is not None:
            finalize_invoice(invoice)
        month = month.next()
    # Late ones of the last months have come by then.
    clock.move_to(month.end + timedelta(days=60))
    for _ in range(2):
        invoice = draft_invoice(alder.tenant, month)
        if invoice is not None:
            finalize_invoice(invoice)
        month = month.next()
    assert_books_agree(alder)


def assert_books_agree(alder: Api) -> None:
    """No event on two lines, none on none; each line is the price of its events, rounded once; lines add up
    to their invoice, and the whole ledger's price to all of them but for one rounding a line.
    """
    events = {event.pk: event for event in UsageEvent.objects.all()}
    tied = Counter(InvoiceLineEvent.objects.values_list("event", flat=True))
    assert tied == dict.fromkeys(events, 1)
    quantities: Counter[str] = Counter()
    for event_id, line_id in InvoiceLineEvent.objects.values_list("event", "line"):
        quantities[line_id] += events[event_id].quantity
    exact = Decimal(0)
    for line in InvoiceLine.objects.all():
        assert line.quantity_ms == quantities[line.pk]
        steps = [Step.from_json(step) for step in line.steps]
        assert sum(step.audio_ms for step in steps) == line.quantity_ms
        amount = sum((step.amount for step in steps), Decimal(0))
        assert line.amount_minor == half_up(amount)
        exact += amount
    for invoice in Invoice.objects.all():
        amounts = invoice.lines.aggregate(sum=Sum("amount_minor"))["sum"]
        assert amounts == invoice.net_minor == invoice.total_minor
    row = account(alder)
    expected = Decimal(0)
    for month in {Month.containing(event.occurred_at, row.time_zone) for event in events.values()}:
        for part in parts_of(row, month):
            used = sum(
                event.quantity
                for event in events.values()
                if part.start <= event.occurred_at < part.end
            )
            expected += price_audio(used, part.price.tariff, part.included_ms)
    # A sixtieth has no end as a decimal number: 28 digits are kept.
    assert abs(exact - expected) < Decimal("1e-12")
    count_usage(alder.tenant.pk, settled_after=NOW)
    assert mismatches(alder.tenant) == []
    assert find_mismatches() == []


def test_what_is_counted_while_somebody_asks_is_in_the_sum_once(
    customer: Make, use: Make, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alder = customer("2026-03-01T00:00Z", time_zone="UTC")
    use(alder, "2026-03-02T00:00Z", ms=1_000)
    ask_rollups = UsageRollup.objects.for_tenant

    def counted_first(tenant: Any) -> Any:
        if not RollupMark.objects.exists():
            clock.shift(1)
            count_usage(alder.tenant.pk, settled_after=NOW)
        return ask_rollups(tenant)

    monkeypatch.setattr(UsageRollup.objects, "for_tenant", counted_first)
    whole = at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")
    sums = sums_between(alder.tenant.pk, Granularity.MONTH, *whole, "UTC", groups=())
    assert [sum_ for bucket, sum_ in sums.items() if bucket.meter == "audio_ms"] == [1_000]


def test_rollups_are_the_ledger_however_they_came_about(
    customer: Make, use: Make, clock: Any
) -> None:
    alder = customer("2026-03-01T00:00Z", time_zone="Asia/Kolkata")
    chance = random.Random(5)
    for n in range(60):
        use(
            alder,
            (at("2026-03-02T00:00Z") + timedelta(hours=11 * n)).isoformat(),
            ms=chance.randrange(9_999),
        )
        if n % 7 == 0:
            count_usage(alder.tenant.pk)  # what is settled, ten minutes behind
        if n == 40:
            count_usage(alder.tenant.pk, settled_after=NOW)
    zone = "Asia/Kolkata"
    whole = at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")

    def sums() -> list[Any]:
        return [sums_between(alder.tenant.pk, one, *whole, zone) for one in Granularity.values]

    expected = [ledger_sums(alder.tenant.pk, one, zone) for one in Granularity.values]
    assert sums() == expected
    assert 0 < UsageRollup.objects.count() < 180
    rebuild_rollups(alder.tenant.pk)
    assert sums() == expected
    count_usage(alder.tenant.pk, settled_after=NOW)
    assert sums() == expected
    days = alder.get(
        "/v1/usage?granularity=day&start=2026-03-02T00:00:00Z&end=2026-03-09T00:00:00Z"
    )
    # Midnight in Kolkata is half past six the evening before.
    assert days.json()["data"][0]["starts_at"].endswith("T18:30:00Z")
    UsageRollup.objects.filter(granularity="day").first().delete()
    assert "rollups 0" in mismatches(alder.tenant)[0]


def test_usage_is_shown_at_once_by_hour_key_and_project(
    alder: Api, submit: Make, render: Make
) -> None:
    job = submit(alder, "Hello there.", metadata={"project": "podcast"})
    render(job["id"])
    audio_ms = alder.get(f"/v1/jobs/{job['id']}").json()["audio"]["duration_ms"]
    shown = alder.get("/v1/usage?granularity=hour&group_by=key,project").json()
    assert shown["totals"] == {"audio_ms": audio_ms, "characters": 12}
    [row] = shown["data"]
    assert (row["api_key_id"], row["project"], row["audio_ms"]) == (
        alder.key.pk,
        "podcast",
        audio_ms,
    )
    for wrong in (
        "group_by=voice",
        "granularity=week",
        "start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z",
    ):
        assert alder.get(f"/v1/usage?{wrong}").status_code == 422
    long = alder.get("/v1/usage?granularity=hour&start=2020-01-01T00:00:00Z")
    assert "more than 1,000 hours" in long.json()["detail"]


def test_a_correction_is_another_event(customer: Make, use: Make, close: Make) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-05T00:00Z", 10)
    [event] = UsageEvent.objects.all()
    charge = correct_usage(event, -4 * MINUTE, reason="noise", occurred_at=at("2026-03-06T00:00Z"))
    assert charge.amount == -60
    with pytest.raises(DatabaseError), transaction.atomic():
        correct_usage(event, -4 * MINUTE, reason="noise", occurred_at=at("2026-03-06T00:00Z"))
    [invoice] = close("2026-04")
    assert (invoice.lines.get().quantity_ms, invoice.total_minor) == (6 * MINUTE, 90)


def test_what_is_voided_is_billed_anew(customer: Make, use: Make, close: Make) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-05T00:00Z", 10)
    [invoice] = close("2026-04")
    void_invoice(invoice, reason="The wrong company")
    again = draft_invoice(alder.tenant, Month(2026, 3, "UTC"))
    assert again is not None
    finalize_invoice(again)
    assert list(Invoice.objects.order_by("number").values_list("status", "total_minor")) == [
        ("void", 150),
        ("finalized", 150),
    ]
    assert InvoiceLineEvent.objects.get().line.invoice_id == again.pk


@pytest.fixture
def books(customer: Make, use: Make, close: Make) -> Invoice:
    """A finalized invoice, with a credit note and a payment."""
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-05T00:00Z", 10)
    invoice: Invoice
    [invoice] = close("2026-04")
    credit_invoice(invoice, 10, reason="noise")
    Payment.objects.create(
        tenant=alder.tenant,
        invoice=invoice,
        amount_minor=1,
        currency="USD",
        method="transfer",
        reference="x",
        received_at=timezone.now(),
    )
    return invoice


FROZEN: list[tuple[type[Any], dict[str, Any]]] = [
    (UsageEvent, {"quantity": 1}),
    (Price, {"base_fee_minor": 1}),
    (CreditNote, {"total_minor": 1}),
    (Payment, {"amount_minor": 2}),
    (Invoice, {"total_minor": 1}),
    (Invoice, {"status": "draft"}),
    (Invoice, {"number": "VR2026-000099"}),
    (Invoice, {"buyer": {"name": "Somebody else"}}),
    (InvoiceLine, {"amount_minor": 1}),
    (InvoiceLineEvent, {"line": "inl_x"}),
]


@pytest.mark.parametrize(("model", "change"), FROZEN)
def test_nobody_changes_or_deletes_what_is_in_the_books(
    books: Invoice, model: type[Any], change: dict[str, Any]
) -> None:
    """As an operator, who may do more than the app's role; which is asked below."""
    rows = model.objects.all()
    assert rows.exists()
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(**change)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {model._meta.db_table}")
    with pytest.raises(DatabaseError), transaction.atomic():
        InvoiceLine.objects.create(
            tenant=books.tenant,
            invoice=books,
            position=9,
            kind="credit",
            starts_at=books.period_start,
            ends_at=books.period_end,
            amount_minor=-1,
        )


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no roles")
@pytest.mark.parametrize(("model", "change"), FROZEN)
def test_the_apps_role_cannot_even_try(
    books: Invoice, model: type[Any], change: dict[str, Any]
) -> None:
    with acting_for(books.tenant_id):
        for statement in (
            lambda: model.objects.update(**change),
            lambda: model.objects.all()._raw_delete("default"),
        ):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                statement()


def test_a_paid_invoice_is_not_voided_and_says_what_to_do(books: Invoice) -> None:
    from voicereel_site.errors import Refusal

    with pytest.raises(Refusal, match="credit note"):
        void_invoice(books, reason="x")


def test_the_console_has_no_form_for_the_books(rf: RequestFactory) -> None:
    shown = [admin.site._registry[model] for model, _ in FROZEN if model in admin.site._registry]
    assert shown
    for one in shown:
        assert not one.has_add_permission(rf.get("/"))
        assert not one.has_change_permission(rf.get("/"))
        assert not one.has_delete_permission(rf.get("/"))
