"""Invoices that are paid by card: written down at Stripe once, whatever fails, and never charged twice."""

import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import stripe
from django.test import Client
from django.utils import timezone

from accounts.outbox import relay
from billing.cards import take_events
from billing.closing import find_mismatches
from billing.invoicing import credit_invoice, record_payment, void_invoice
from billing.models import BillingAccount, Invoice, Payment, StripeEvent, StripeMirror
from billing.stripe_mirror import sweep_mirrors
from tests.billing.conftest import account, at
from tests.conftest import Api
from tests.fakes.stripe_server import StripeServer, Troubles
from tests.fakes.stripe_types import NotAsTyped, check

Make: TypeAlias = Callable[..., Any]


@pytest.fixture
def stripe_server(settings: Any) -> Iterator[StripeServer]:
    with StripeServer() as server:
        settings.STRIPE_KEY = "sk_test_of_the_tests"
        settings.STRIPE_URL = server.url
        settings.STRIPE_WEBHOOK_SECRET = server.secret
        yield server


def tell(server: StripeServer, *, times: int = 1, seed: int = 0) -> None:
    """Stripe's events reach us, in any order, and are taken."""
    waiting, server.events = server.events * times, []
    random.Random(seed).shuffle(waiting)
    for event in waiting:
        payload = json.dumps(event).encode()
        header = server.signed(payload)["Stripe-Signature"]
        reply = Client().post(
            "/stripe/webhook",
            payload,
            content_type="application/json",
            headers={"Stripe-Signature": header},
        )
        assert reply.status_code == 204
    take_events()


@pytest.fixture
def with_card(customer: Make, stripe_server: StripeServer) -> Make:
    """A tenant whose owner has given Stripe a card."""

    def make(when: str = "2026-03-01T00:00Z", **account: Any) -> Api:
        api: Api = customer(when, **account)
        reply = api.post("/v1/billing/card", {"return_url": "https://alder.example/billing"})
        assert reply.status_code == 200, reply.json()
        [session] = stripe_server.of_kind("checkout.session")
        assert reply.json()["url"].endswith(session["id"])
        stripe_server.give_card(session["id"])
        tell(stripe_server, times=2)
        shown = api.get("/v1/billing").json()
        assert (shown["has_card"], shown["pays_by"]) == (True, "card")
        return api

    return make


def test_an_invoice_is_charged_to_the_card_once(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer
) -> None:
    alder = with_card(country="KR")
    use(alder, "2026-03-10T10:00Z", 10)
    [invoice] = close("2026-04")
    for _ in range(3):
        sweep_mirrors()
        tell(stripe_server, times=3)
    [theirs] = stripe_server.of_kind("invoice")
    # 2,000 won and 200 of VAT, as two lines.
    assert [line["amount"] for line in theirs["lines"]["data"]] == [2_000, 200]
    assert (theirs["status"], theirs["total"], theirs["currency"]) == ("paid", 2_200, "krw")
    assert stripe_server.charges == [(theirs["id"], 2_200)]
    invoice.refresh_from_db()
    assert (invoice.status, invoice.total_minor) == ("paid", 2_200)
    [payment] = Payment.objects.all()
    assert (payment.amount_minor, payment.method) == (2_200, "card")
    assert find_mismatches() == []


def test_a_declined_card_leads_to_reminders_and_another_card_pays(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer, clock: Any
) -> None:
    from billing.dunning import remind

    alder = with_card()
    use(alder, "2026-03-10T10:00Z", 10)
    stripe_server.troubles.declined = True
    [invoice] = close("2026-04")
    sweep_mirrors()
    tell(stripe_server)
    assert StripeMirror.objects.get().state == "declined"
    clock.move_to(at("2026-05-09T10:00Z"))
    assert remind() == 1
    assert account(alder).standing == "restricted"
    stripe_server.troubles.declined = False
    alder.post("/v1/billing/card", {"return_url": "https://alder.example/billing"})
    stripe_server.give_card(stripe_server.of_kind("checkout.session")[-1]["id"])
    tell(stripe_server)
    sweep_mirrors()
    tell(stripe_server)
    invoice.refresh_from_db()
    assert (invoice.status, account(alder).standing) == ("paid", "good")
    assert [amount for _, amount in stripe_server.charges] == [150]


def test_stripe_being_away_stops_nothing_and_is_caught_up_with(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer, clock: Any, submit: Make
) -> None:
    alder = with_card()
    use(alder, "2026-03-10T10:00Z", 10)
    with stripe_server.away():
        [invoice] = close("2026-04")
        sweep_mirrors()
        assert submit(alder)["status"] == "queued"
        refused = alder.post("/v1/billing/card", {"return_url": "https://alder.example/"})
        assert (refused.status_code, refused["Retry-After"]) == (503, "60")
    assert StripeMirror.objects.get().state == "waiting"
    clock.shift(3_600)
    sweep_mirrors()
    invoice.refresh_from_db()
    assert invoice.status == "paid"


@pytest.mark.parametrize("seed", range(5))
def test_with_half_of_the_calls_failing_nobody_is_charged_twice(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer, clock: Any, seed: int
) -> None:
    alder = with_card()
    use(alder, "2026-03-10T10:00Z", 10)
    stripe_server.troubles = Troubles(before=0.25, after=0.25, chance=random.Random(seed))
    [invoice] = close("2026-04")
    for _ in range(60):
        clock.shift(3_600)
        stripe_server.moved_s += 3_600
        sweep_mirrors()
        tell(stripe_server, times=2, seed=seed)
    stripe_server.troubles = Troubles()
    clock.shift(3_600)
    sweep_mirrors()
    tell(stripe_server)
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert [amount for _, amount in stripe_server.charges] == [150]
    assert len(stripe_server.of_kind("invoice")) == 1
    assert Payment.objects.count() == 1


def test_totals_that_differ_are_held_and_never_finalized(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer, monkeypatch: Any
) -> None:
    alder = with_card()
    use(alder, "2026-03-10T10:00Z", 10)
    close("2026-04")
    whole = stripe_server._add_lines

    def add_lines(given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        given["lines"][0]["amount"] = "151"
        return whole(given, invoice_id)

    monkeypatch.setattr(stripe_server, "_add_lines", add_lines)
    sweep_mirrors()
    sweep_mirrors()
    [theirs] = stripe_server.of_kind("invoice")
    assert (theirs["status"], stripe_server.charges) == ("draft", [])
    [mismatch] = find_mismatches()
    assert "Stripe's total is 151, ours 150" in mismatch.what
    assert mismatch.blocks


def test_a_credit_note_of_a_paid_invoice_gives_the_money_back(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer
) -> None:
    alder = with_card()
    use(alder, "2026-03-10T10:00Z", 10)
    [invoice] = close("2026-04")
    sweep_mirrors()
    note = credit_invoice(invoice, 50, reason="A third of it was noise")
    assert note.refunded
    for _ in range(2):
        sweep_mirrors()
        tell(stripe_server, times=2)
    assert [amount for _, amount in stripe_server.charges] == [150, -50]
    shown = alder.get(f"/v1/invoices/{invoice.pk}").json()
    assert (shown["status"], shown["open_minor"], shown["total_minor"]) == ("paid", 0, 150)
    assert find_mismatches() == []


def test_an_event_that_is_not_stripes_is_refused(stripe_server: StripeServer, db: None) -> None:
    payload = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid"}).encode()
    right = stripe_server.signed(payload)["Stripe-Signature"]
    for header in ("", "t=1,v1=00", right.replace("v1=", "v1=0"), right.replace("t=", "t=9")):
        reply = Client().post(
            "/stripe/webhook",
            payload,
            content_type="application/json",
            headers={"Stripe-Signature": header},
        )
        assert reply.status_code == 401
    assert not StripeEvent.objects.exists()


def test_without_stripe_cards_are_refused_and_everything_else_goes(
    customer: Make, use: Make, close: Make
) -> None:
    alder = customer("2026-03-01T00:00Z")
    refused = alder.post("/v1/billing/card", {"return_url": "https://alder.example/"})
    assert refused.status_code == 409
    assert "bank transfer" in refused.json()["detail"]
    refused = alder.patch("/v1/billing", {"pays_by": "card"})
    assert refused.status_code == 409
    use(alder, "2026-03-10T10:00Z", 10)
    [invoice] = close("2026-04")
    relay()
    assert invoice.pays_by == BillingAccount.PaysBy.TRANSFER
    assert not StripeMirror.objects.exists()
    assert Invoice.objects.get().status == "finalized"


def test_the_fake_refuses_what_stripes_library_would_not_type(stripe_server: StripeServer) -> None:
    wrong: list[tuple[str, dict[str, str]]] = [
        ("/v1/customers", {"emial": "a@b.example"}),
        ("/v1/invoices", {"customer": "cus_1", "collection_method": "by_hand"}),
        ("/v1/invoices/in_1/add_lines", {}),
        ("/v1/credit_notes", {"amount": "1"}),
        ("/v1/invoices/in_1/add_lines", {"lines[0][amuont]": "1"}),
        ("/v1/invoices/in_1/add_lines", {"lines[0][amount]": "1.5"}),
    ]
    for path, form in wrong:
        status, body = stripe_server.answer(
            "POST", path, "&".join(f"{k}={v}" for k, v in form.items()), ""
        )
        assert (status, body["error"]["type"]) == (400, "invalid_request_error"), path
    with pytest.raises(NotAsTyped):
        check(stripe.params.InvoiceCreateParams, {"auto_advance": "0"})
    with pytest.raises(OSError, match="404"):
        urllib.request.urlopen(f"{stripe_server.url}/v1/subscriptions")


@pytest.mark.parametrize("how", ["transfer", "void"])
def test_what_was_paid_otherwise_or_taken_back_is_never_charged(
    with_card: Make, use: Make, close: Make, stripe_server: StripeServer, how: str
) -> None:
    """The card is declined, the customer pays by transfer (or we take the invoice back), and then gives
    another card, which pays what was declined.
    """
    api = with_card()
    use(api, "2026-03-10T10:00Z", 10)
    stripe_server.troubles.declined = True
    close("2026-04")
    sweep_mirrors()
    tell(stripe_server)
    invoice = Invoice.objects.get()
    if how == "transfer":
        record_payment(
            invoice,
            invoice.total_minor,
            method="transfer",
            reference="deposit 1",
            received_at=timezone.now(),
        )
    else:
        void_invoice(invoice, reason="A mistake of ours")
    stripe_server.troubles.declined = False
    api.post("/v1/billing/card", {"return_url": "https://alder.example/billing"})
    stripe_server.give_card(stripe_server.of_kind("checkout.session")[-1]["id"])
    tell(stripe_server)
    sweep_mirrors()
    assert stripe_server.charges == []
    assert StripeMirror.objects.get().state == StripeMirror.State.DROPPED
    [theirs] = stripe_server.of_kind("invoice")
    assert theirs["status"] == "void"
