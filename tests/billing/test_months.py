"""Whole months with a moved clock. What the invoices come to was reckoned by hand, to the last unit.

The list's prices (billing.list_prices): standard USD 15 cents a minute up to 1,200 min beyond what is
included, then 12; KRW 200 and 160; EUR 14 and 11. Business: USD 99.00 a month with 1,200 min, then 9 cents
up to 12,000 min and 7; KRW 130,000, 120, 90; EUR 89.00, 8.5, 6.5. Trial: 30 min, 14 days.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from django.core import mail

from accounts.models import Tenant, WebhookDelivery
from billing.closing import close_month, draft_last_month, find_mismatches
from billing.dunning import remind
from billing.invoicing import credit_invoice, draft_invoice, record_payment
from billing.models import Credit, Invoice, InvoiceLineEvent, UsageEvent
from billing.periods import Month
from billing.plan_changes import apply_plans
from billing.sending import send_invoice
from tests.billing.conftest import MINUTE, account, at, lines_of

Customer: TypeAlias = Callable[..., Any]
Use: TypeAlias = Callable[..., Any]
Switch: TypeAlias = Callable[..., Any]
Close: TypeAlias = Callable[..., Any]


def test_a_month_in_dollars_crosses_a_tier(customer: Customer, use: Use, close: Close) -> None:
    alder = customer("2026-03-01T00:00Z", country="US", legal_name="Alder Inc.")
    use(alder, "2026-03-05T10:00Z", 1_000)
    use(alder, "2026-03-20T10:00Z", 500.5)
    [invoice] = close("2026-04")
    # 1,200 min x 15 c = 18,000 c; 300.5 min x 12 c = 3,606 c.
    assert lines_of(invoice) == [("audio", 1_500 * MINUTE + 30_000, 21_606)]
    assert (invoice.net_minor, invoice.tax_minor, invoice.total_minor) == (21_606, 0, 21_606)
    assert (invoice.status, invoice.number, invoice.month) == (
        "finalized",
        "VR2026-000001",
        "2026-03",
    )
    assert invoice.due_at == at("2026-04-17T01:00Z")
    assert invoice.buyer["name"] == "Alder Inc."
    steps = invoice.lines.get().steps
    assert [(step["audio_ms"], step["per_minute"]) for step in steps] == [
        (1_200 * MINUTE, "15"),
        (300 * MINUTE + 30_000, "12"),
    ]
    # Every event is on it, and the next month has an invoice of its own number.
    assert InvoiceLineEvent.objects.count() == UsageEvent.objects.count() == 2
    use(alder, "2026-04-10T10:00Z", 1)
    [following] = close("2026-05")
    assert (following.number, following.total_minor) == ("VR2026-000002", 15)


def test_a_sign_up_in_mid_month_an_upgrade_and_a_downgrade(
    customer: Customer, use: Use, switch: Switch, close: Close
) -> None:
    alder = customer("2026-06-11T00:00Z")  # June has 30 days; nothing before the 11th
    use(alder, "2026-06-12T10:00Z", 100)
    switch(alder, "2026-06-21T00:00Z", "business")  # for the 21st to the 30th: 10 of 30 days
    assert Tenant.objects.get().plan == "business"
    use(alder, "2026-06-25T10:00Z", 500)
    [june] = close("2026-07")
    # 100 min x 15 c; a third of 9,900 c; a third of 1,200 min included, the other 100 min x 9 c.
    assert lines_of(june) == [
        ("audio", 100 * MINUTE, 1_500),
        ("base_fee", 0, 3_300),
        ("audio", 500 * MINUTE, 900),
    ]
    assert june.total_minor == 5_700
    switch(alder, "2026-08-01T00:00Z", "standard")  # a downgrade, from the next month on
    use(alder, "2026-08-01T00:00Z", 10)
    use(alder, "2026-07-31T23:59:59Z", 2_000, reported="2026-08-01T00:00:05Z")
    [july] = close("2026-08")
    # 9,900 c; 1,200 min included, 800 min x 9 c.
    assert lines_of(july) == [("base_fee", 0, 9_900), ("audio", 2_000 * MINUTE, 7_200)]
    [august] = close("2026-09")
    assert lines_of(august) == [("audio", 10 * MINUTE, 150)]


def test_a_trial_ends_and_its_half_hour_is_free(customer: Customer, use: Use, close: Close) -> None:
    alder = customer("2026-03-25T12:00Z", plan="trial")
    use(alder, "2026-03-26T10:00Z", 20)
    use(alder, "2026-04-02T10:00Z", 10)
    body = {"script": [{"speaker_id": "spk_0", "text": "x" * 100}]}
    preview = alder.post("/v1/synthesize?dry_run=true", body).json()
    assert preview["highest_price"]["amount_minor"] == 0
    # Two weeks later it is an account of the plan standard, and pays.
    use(alder, "2026-04-08T12:00Z", 10)
    apply_plans()
    assert Tenant.objects.get().plan == "standard"
    [march] = close("2026-04")
    assert (lines_of(march), march.status) == ([("audio", 20 * MINUTE, 0)], "paid")
    [april] = close("2026-05")
    assert lines_of(april) == [("audio", 10 * MINUTE, 0), ("audio", 10 * MINUTE, 150)]


def test_the_half_hour_of_a_trial_does_not_come_again_with_a_new_month(
    customer: Customer, use: Use, clock: Any, make_speaker: Callable[..., Any]
) -> None:
    alder = customer("2026-03-25T12:00Z", plan="trial")
    use(alder, "2026-03-26T10:00Z", 29.9)
    clock.move_to(at("2026-04-02T10:00Z"))
    speaker = make_speaker(alder)
    body = {"script": [{"speaker_id": speaker.pk, "text": "x" * 200}]}  # 12 s and a pause
    refused = alder.post("/v1/synthesize", body)
    assert (refused.status_code, refused.json()["code"]) == (402, "quota_exceeded")
    assert "trial includes 30 minutes" not in refused.json()["detail"]  # of which 6 s are left
    assert "6 s are left" in refused.json()["detail"]


def test_a_month_in_won_is_the_months_of_seoul_and_has_vat(
    customer: Customer, use: Use, close: Close, clock: Any
) -> None:
    alder = customer(
        "2026-03-01T00:00Z", country="KR", legal_name="알더 스튜디오", tax_id="123-45-67891"
    )
    shown = alder.get("/v1/billing").json()
    assert (shown["currency"], shown["time_zone"], shown["language"]) == ("KRW", "Asia/Seoul", "ko")
    use(alder, "2026-03-31T23:59:59.999+09:00", 10)  # the last of March
    use(alder, "2026-04-01T00:00:00+09:00", 100.0005)  # 30 ms over 100 min
    use(alder, "2026-04-01T01:00:00+09:00", 7)  # 16:00 UTC on the 31st of March
    use(alder, "2026-04-01T08:59:00+09:00", 3)
    [march] = close("2026-04")
    # 10 min x 200 won, and a tenth of it.
    assert (march.net_minor, march.tax_minor, march.total_minor) == (2_000, 200, 2_200)
    assert march.period_end == at("2026-03-31T15:00Z")
    [april] = close("2026-05")
    # 110.0005 min x 200 won = 22,000.1 won -> 22,000; VAT 2,200.
    assert (april.net_minor, april.tax_minor, april.total_minor) == (22_000, 2_200, 24_200)
    assert april.tax_percent == 10
    report = alder.get("/v1/usage/reports/2026-04").json()
    assert report["time_zone"] == "Asia/Seoul"
    assert report["totals"]["audio_ms"] == 110 * MINUTE + 30
    # The first day of April has all three, and the page says which zone that is.
    assert report["days"][0]["starts_at"] == "2026-03-31T15:00:00Z"
    assert report["days"][0]["audio_ms"] == 110 * MINUTE + 30


def test_vat_drops_fractions_of_a_won(customer: Customer, use: Use, close: Close) -> None:
    alder = customer("2026-03-01T00:00Z", country="KR")
    use(alder, "2026-03-10T10:00Z", ms=2_997)  # 2,997 ms x 200 won / 60,000 = 9.99 won -> 10
    [invoice] = close("2026-04")
    assert (invoice.net_minor, invoice.tax_minor) == (10, 1)
    use(alder, "2026-04-10T10:00Z", ms=5_700)  # 19 won; 1.9 won of VAT -> 1
    [invoice] = close("2026-05")
    assert (invoice.net_minor, invoice.tax_minor, invoice.total_minor) == (19, 1, 20)


def test_a_month_in_euro_with_a_credit(
    customer: Customer, use: Use, close: Close, clock: Any
) -> None:
    alder = customer("2026-03-01T00:00Z", plan="business", country="DE", currency="EUR")
    Credit.objects.create(
        tenant=alder.tenant, amount_minor=10_000, currency="EUR", reason="An outage in February"
    )
    use(alder, "2026-03-05T10:00Z", 1_300.1)
    [march] = close("2026-04")
    # 8,900 c; 100.1 min x 8.5 c = 850.85 c -> 851; less what is owed.
    assert lines_of(march) == [
        ("base_fee", 0, 8_900),
        ("audio", 1_300 * MINUTE + 6_000, 851),
        ("credit", 0, -9_751),
    ]
    assert (march.total_minor, march.status) == (0, "paid")
    [april] = close("2026-05")
    assert lines_of(april) == [("base_fee", 0, 8_900), ("credit", 0, -249)]
    assert april.total_minor == 8_651


def test_what_comes_late_is_on_the_next_invoice_and_says_so(
    customer: Customer, use: Use, close: Close
) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-20T10:00Z", 1_199)
    use(alder, "2026-03-31T10:00Z", 1, reported="2026-04-02T10:00Z")  # within the grace period
    [march] = close("2026-04")
    assert march.total_minor == 18_000  # 1,200 min x 15 c
    use(alder, "2026-03-31T11:00Z", 100, reported="2026-04-20T10:00Z")
    use(alder, "2026-04-20T10:00Z", 2)
    [april] = close("2026-05")
    # What is beyond 1,200 min of March costs 12 c, as if it had come in time.
    assert lines_of(april) == [("late_audio", 100 * MINUTE, 1_200), ("audio", 2 * MINUTE, 30)]
    march.refresh_from_db()
    assert march.total_minor == 18_000
    late = april.lines.first()
    assert (late.starts_at, late.ends_at) == (at("2026-03-01T00:00Z"), at("2026-04-01T00:00Z"))


def test_a_canceled_job_is_on_no_invoice(
    customer: Customer, close: Close, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    alder = customer("2026-03-01T00:00Z")
    spoken, canceled, failed = (
        submit(alder, text)["id"] for text in ("Hello.", "No.", "[unspeakable]")
    )
    assert alder.post(f"/v1/jobs/{canceled}/cancel").status_code == 200
    render(spoken)
    render(failed)
    shown = alder.get(f"/v1/jobs/{spoken}").json()
    audio_ms = shown["audio"]["duration_ms"]
    assert shown["cost"]["currency"] == "USD"
    for other in (canceled, failed):
        assert alder.get(f"/v1/jobs/{other}").json()["cost"] is None
    [invoice] = close("2026-04")
    assert [line.quantity_ms for line in invoice.lines.all()] == [audio_ms]
    events = alder.get(f"/v1/invoices/{invoice.pk}/events").content.decode().splitlines()
    assert len(events) == 2
    assert f"job:{spoken}" in events[1]


def test_an_unpaid_invoice_is_reminded_of_restricts_closes_and_is_forgiven_when_paid(
    customer: Customer, use: Use, close: Close, clock: Any, submit: Callable[..., Any]
) -> None:
    alder = customer("2026-03-01T00:00Z", email="books@alder.example")
    use(alder, "2026-03-10T10:00Z", 10)
    [invoice] = close("2026-04")  # due on 17 April
    steps = (
        ("2026-04-16T10:00Z", 0, "good"),
        ("2026-04-17T10:00Z", 1, "past_due"),
        ("2026-04-18T10:00Z", 0, "past_due"),
        ("2026-04-24T10:00Z", 1, "past_due"),
        ("2026-05-01T10:00Z", 1, "past_due"),
        ("2026-05-08T10:00Z", 0, "restricted"),
        ("2026-06-16T10:00Z", 0, "closed"),
    )
    submit(alder)
    for when, mails, standing in steps:
        clock.move_to(at(when))
        assert (remind(), account(alder).standing) == (mails, standing), when
    refused = alder.post("/v1/synthesize", {"script": [{"speaker_id": "spk_0", "text": "Hi."}]})
    assert refused.status_code == 422  # the script is looked at first
    from speakers.models import Speaker

    speaker = Speaker.objects.get()
    body = {"script": [{"speaker_id": speaker.pk, "text": "Hi."}]}
    refused = alder.post("/v1/synthesize", body)
    assert (refused.status_code, refused.json()["code"]) == (402, "quota_exceeded")
    assert "overdue" in refused.json()["detail"]
    # What is there can still be fetched.
    assert alder.get("/v1/jobs").status_code == 200
    # Half of it is not enough; the transfer that is matched late is.
    record_payment(
        invoice, 75, method="transfer", reference="bank-1", received_at=at("2026-06-17T00:00Z")
    )
    assert account(alder).standing == "closed"
    for _ in range(2):  # told twice, booked once
        record_payment(
            invoice, 75, method="transfer", reference="bank-2", received_at=at("2026-06-17T00:00Z")
        )
    invoice.refresh_from_db()
    assert (invoice.status, account(alder).standing) == ("paid", "good")
    assert alder.post("/v1/synthesize", body).status_code == 202


def test_closing_again_changes_nothing_and_books_that_disagree_hold_one_tenant(
    customer: Customer, use: Use, clock: Any
) -> None:
    alder = customer("2026-03-01T00:00Z")
    use(alder, "2026-03-10T10:00Z", 10)
    clock.move_to(at("2026-04-01T02:00Z"))
    assert draft_last_month() == 1
    assert draft_last_month() == 1
    draft = Invoice.objects.get()
    assert (draft.status, draft.number, draft.total_minor) == ("draft", "", 150)
    assert close_month().finalized == []  # the grace period
    clock.move_to(at("2026-04-03T02:00Z"))
    type(account(alder)).objects.for_tenant(alder.tenant).update(audio_ms=1)
    # The running part is April's, in which nothing was used.
    [mismatch] = find_mismatches()
    assert "the account 1" in mismatch.what
    held = close_month()
    assert (held.finalized, [one.tenant_id for one in held.held]) == ([], [alder.tenant.pk])
    type(account(alder)).objects.for_tenant(alder.tenant).update(audio_ms=0)
    [invoice] = close_month().finalized
    assert close_month().finalized == []
    assert draft_invoice(alder.tenant, Month(2026, 3, "UTC")) == invoice
    assert Invoice.objects.count() == 1


def test_a_credit_note_takes_back_to_the_last_won(
    customer: Customer, use: Use, close: Close
) -> None:
    alder = customer("2026-03-01T00:00Z", country="KR")
    use(alder, "2026-03-10T10:00Z", ms=5_700)  # 19 won, 1 won of VAT
    [invoice] = close("2026-04")
    first = credit_invoice(invoice, 9, reason="Half of it was noise")
    assert (first.number, first.net_minor, first.tax_minor) == ("CN2026-000001", 9, 0)
    rest = credit_invoice(invoice, None, reason="All of it was")
    assert (rest.net_minor, rest.tax_minor, rest.refunded) == (10, 1, False)
    invoice.refresh_from_db()
    assert (invoice.status, invoice.total_minor) == ("paid", 20)
    shown = alder.get(f"/v1/invoices/{invoice.pk}").json()
    assert shown["open_minor"] == 0
    assert [note["number"] for note in shown["credit_notes"]] == ["CN2026-000001", "CN2026-000002"]


def test_an_invoice_is_mailed_once_and_told_to_webhooks(
    customer: Customer, use: Use, close: Close, settings: Any
) -> None:
    from accounts.models import WebhookEndpoint
    from accounts.outbox import relay

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    alder = customer("2026-03-01T00:00Z", email="books@alder.example")
    WebhookEndpoint.objects.create(tenant=alder.tenant, url="https://hooks.example/", secret=b"s")
    use(alder, "2026-03-10T10:00Z", 10)
    [invoice] = close("2026-04")
    [delivery] = WebhookDelivery.objects.filter(event="invoice.finalized")
    assert invoice.number in delivery.body
    for _ in range(2):
        send_invoice(invoice)
    relay()
    [sent] = [one for one in mail.outbox if one.to == ["books@alder.example"]]
    assert (sent.subject, sent.attachments[0][0]) == (
        "VoiceReel invoice VR2026-000001 for 2026-03: $1.50",
        "VR2026-000001.pdf",
    )
    assert sent.attachments[0][1].startswith(b"%PDF-")


@pytest.mark.parametrize("meter", ["characters", "stored_bytes", "gpu_ms"])
def test_only_audio_is_billed(customer: Customer, close: Close, meter: str, clock: Any) -> None:
    from billing.usage import Measurement, record_usage

    alder = customer("2026-03-01T00:00Z")
    record_usage(
        alder.tenant,
        [Measurement(meter, 1_000_000)],
        source="job:1",
        occurred_at=at("2026-03-02T00:00Z"),
    )
    assert close("2026-04") == []
