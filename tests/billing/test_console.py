"""Money in the operators' console: plans, credits, usage, invoices, and the monthly close."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.identifiers import new_id
from accounts.models import (
    AuditEvent,
    Membership,
    OutboxMessage,
    Tenant,
    User,
    WebhookDelivery,
    WebhookEndpoint,
)
from billing.accounts import account_of
from billing.credits import grant_credit
from billing.invoicing import draft_invoice, finalize_invoice
from billing.models import BillingAccount, Credit, Invoice, PlanChange, UnmatchedDeposit
from billing.periods import Month
from billing.rollups import count_usage
from billing.usage import Measurement, record_usage
from speakers.models import Speaker
from synthesis.models import Job
from synthesis.workers import Presence
from tests.conftest import Api, Browser, log_in, make_person

CLOSE = "/admin/billing/invoice/close"


@pytest.fixture
def browser(operator: User) -> Browser:
    return log_in(operator, second_factor=True)


def used(api: Api, at: datetime, minutes: int = 10) -> None:
    measured = [Measurement("audio_ms", minutes * 60_000)]
    record_usage(api.tenant, measured, source=new_id("job"), occurred_at=at)


@pytest.fixture
def month(alder: Api) -> Month:
    """The month before, with usage of Alder's that is counted and drafted; it is over for three days."""
    now = timezone.now()
    Tenant.objects.update(created_at=now - timedelta(days=90))
    alder.tenant.refresh_from_db()
    month = Month.containing(now, "UTC").before()
    with time_machine.travel(month.start + timedelta(days=10), tick=False):
        account_of(alder.tenant, timezone.now())
        used(alder, timezone.now())
    with time_machine.travel(month.end + timedelta(days=3), tick=False):
        count_usage(alder.tenant.pk)
        assert draft_invoice(alder.tenant, month) is not None
    return month


def test_a_plan_is_changed_from_the_console(alder: Api, browser: Browser) -> None:
    path = f"/admin/billing/billingaccount/{alder.tenant.pk}/plan"
    used(alder, timezone.now())
    before = BillingAccount.objects.values().get(tenant=alder.tenant)
    assert before["audio_ms"] == 600_000
    assert browser.send(path, plan="business", next_month="on").status_code == 302
    assert Tenant.objects.get(pk=alder.tenant.pk).plan == "standard"
    # The running month goes on, with what was used in it.
    account_of(alder.tenant, timezone.now())
    assert BillingAccount.objects.values().get(tenant=alder.tenant) == before
    # The plan that it has anyway begins no part of a month; what was to come is given up.
    assert browser.send(path, plan="standard").status_code == 302
    assert PlanChange.objects.filter(tenant=alder.tenant).count() == 1
    assert BillingAccount.objects.values().get(tenant=alder.tenant) == before
    assert browser.send(path, plan="business").status_code == 302
    assert Tenant.objects.get(pk=alder.tenant.pk).plan == "business"
    assert alder.get("/v1/jobs")["RateLimit-Policy"] == '"business";q=6000;w=60'
    assert browser.send(path, plan="gold").status_code == 200


def test_a_credit_is_granted_in_the_tenants_currency(
    alder: Api, browser: Browser, operator: User
) -> None:
    path = f"/admin/billing/billingaccount/{alder.tenant.pk}/credit"
    assert "a credit in USD" in browser.get(path).content.decode()
    for amount, says in (
        ("0", "more than nothing"),
        ("1.005", "1.005 is no amount"),
        ("9" * 30, "no more than 12 digits"),
    ):
        refused = browser.send(path, token="t", amount=amount, reason="Sorry").content.decode()
        assert says in refused
    assert not Credit.objects.exists()
    for _ in range(2):  # a double click
        assert browser.send(path, token="t", amount="12.50", reason="Sorry").status_code == 302
    assert Credit.objects.get().amount_minor == 1_250
    event = AuditEvent.objects.for_tenant(alder.tenant).get(action="credit.granted")
    assert event.actor_name == operator.email


def test_usage_is_shown_as_it_happens_and_by_month(
    alder: Api, browser: Browser, month: Month
) -> None:
    path = f"/admin/billing/billingaccount/{alder.tenant.pk}/usage"
    assert "0:00" in browser.get(path).content.decode()
    used(alder, timezone.now(), minutes=3)
    assert "3:00" in browser.get(path).content.decode()
    assert "10:00" in browser.get(f"{path}?month={month.name}").content.decode()
    report = browser.get(f"{path}?month={month.name}&as=csv")
    assert report["Content-Type"] == "text/csv"
    assert browser.get(f"{path}?month=1999-01").status_code == 302


def test_a_month_is_closed_once_its_mismatch_is_resolved(
    alder: Api, birch: Api, browser: Browser, month: Month, operator: User
) -> None:
    with time_machine.travel(month.end + timedelta(days=4), tick=True):
        used(birch, timezone.now())
        BillingAccount.objects.filter(tenant=birch.tenant).update(audio_ms=1)
        account_of(alder.tenant, timezone.now())
        BillingAccount.objects.filter(tenant=alder.tenant).update(audio_ms=5)
        shown = browser.get(CLOSE).content.decode()
        assert "held: its books do not agree" in shown
        browser.send(CLOSE, do="finalize")
        assert Invoice.objects.get().status == "draft"
        assert browser.send(CLOSE, do="recount", subject=alder.tenant.pk).status_code == 302
        assert BillingAccount.objects.get(tenant=alder.tenant).audio_ms == 0
        assert BillingAccount.objects.get(tenant=birch.tenant).audio_ms == 1
        assert "Finalize 1 invoice<" in browser.get(CLOSE).content.decode()
        browser.send(CLOSE, do="finalize")
        assert "1 invoices were finalized" in browser.get(CLOSE).content.decode()
    assert Invoice.objects.get().number
    events = AuditEvent.objects.for_tenant(alder.tenant).filter(actor_name=operator.email)
    assert {"usage.recounted", "invoice.finalized"} <= set(events.values_list("action", flat=True))


def finalized(api: Api, month: Month) -> Invoice:
    with time_machine.travel(month.end + timedelta(days=4), tick=False):
        return finalize_invoice(Invoice.objects.get(tenant=api.tenant))


def test_a_deposit_is_booked_by_hand(alder: Api, browser: Browser, month: Month) -> None:
    invoice = finalized(alder, month)
    UnmatchedDeposit.objects.create(
        reference="KB-1",
        payer="somebody",
        amount_minor=invoice.total_minor,
        currency="USD",
        received_at=datetime.now(UTC),
    )
    assert "fits no invoice" in browser.get(CLOSE).content.decode()
    browser.send(CLOSE, do="match", subject="KB-1", invoice="VR1999-000001")
    assert "There is no invoice" in browser.get(CLOSE).content.decode()
    browser.send(CLOSE, do="match", subject="KB-1", invoice="VR\0")
    Invoice.objects.update(status="void")
    browser.send(CLOSE, do="match", subject="KB-1", invoice=invoice.number)
    assert f"{invoice.number} is void." in browser.get(CLOSE).content.decode()
    Invoice.objects.update(status="finalized")
    browser.send(CLOSE, do="match", subject="KB-1", invoice=invoice.number)
    assert Invoice.objects.get().status == "paid"
    assert not UnmatchedDeposit.objects.exists()


def test_an_invoice_is_credited_voided_and_printed(
    alder: Api, browser: Browser, month: Month
) -> None:
    invoice = finalized(alder, month)
    path = f"/admin/billing/invoice/{invoice.pk}"
    assert browser.get(f"{path}/pdf").content.startswith(b"%PDF")
    note = {"token": "t", "reason": "Noise"}
    assert browser.send(f"{path}/credit-note", **note, amount="1000").status_code == 200
    for _ in range(2):  # a double click
        assert browser.send(f"{path}/credit-note", **note, amount="0.50").status_code == 302
    assert invoice.credit_notes.get().net_minor == 50
    assert "credited already" in browser.send(f"{path}/void", **note).content.decode()
    browser.send(CLOSE, do="draft", subject=invoice.pk)
    assert "It is no draft any more" in browser.get(CLOSE).content.decode()
    assert Decimal(invoice.total_minor) > 0


def test_pages_ask_the_same_however_many_rows(
    alder: Api,
    browser: Browser,
    month: Month,
    make_speaker: Callable[..., Speaker],
    submit: Callable[..., dict[str, Any]],
) -> None:
    paths = [f"{one._meta.app_label}/{one._meta.model_name}/" for one in admin.site._registry]
    paths += ["", "synthesis/job/overview", "billing/invoice/close"]
    paths.append(f"billing/billingaccount/{alder.tenant.pk}/usage")

    def counted() -> dict[str, int]:
        found = {}
        for path in paths:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert browser.get(f"/admin/{path}").status_code == 200, path
            found[path] = len(queries)
        return found

    def grow(number: int) -> None:
        speaker = make_speaker(alder, f"Speaker {number}")
        Job.objects.filter(pk=submit(alder)["id"]).update(
            status="failed", finished_at=timezone.now()
        )
        used(alder, timezone.now() - timedelta(minutes=number))
        Membership.objects.create(
            tenant=alder.tenant, user=make_person(f"p{number}@alder.example"), role="viewer"
        )
        endpoint = WebhookEndpoint.objects.create(
            tenant=alder.tenant, url=f"https://{number}.example/", secret=b"sealed"
        )
        WebhookDelivery.objects.create(
            tenant=alder.tenant,
            endpoint=endpoint,
            event="job.succeeded",
            body="{}",
            give_up_at=timezone.now(),
        )
        grant_credit(alder.tenant, 100, "USD", speaker.name)
        OutboxMessage.objects.create(
            kind="task", subject=f"job_{number}", due_at=timezone.now(), given_up_at=timezone.now()
        )
        Presence([f"queue {number}"]).say()

    grow(0)
    counted()  # what a first request finds out
    few = counted()
    for number in range(1, 8):
        grow(number)
    assert counted() == few
