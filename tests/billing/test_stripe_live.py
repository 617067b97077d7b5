"""The calls that we make, to Stripe itself in test mode: ``STRIPE_TEST_KEY=sk_test_... pytest -m stripe_live``."""

import os
import uuid

import pytest
import stripe

pytestmark = pytest.mark.stripe_live


def test_an_invoice_is_written_down_step_by_step() -> None:
    key = os.environ.get("STRIPE_TEST_KEY", "")
    if not key.startswith("sk_test_"):
        pytest.skip("STRIPE_TEST_KEY names no test key")
    api = stripe.StripeClient(key)
    customer = api.v1.customers.create({"name": "VoiceReel test", "metadata": {"tenant": "ten_x"}})
    session = api.v1.checkout.sessions.create(
        {
            "mode": "setup",
            "customer": customer.id,
            "currency": "usd",
            "success_url": "https://example.com/",
            "cancel_url": "https://example.com/",
        }
    )
    assert session.url
    method = api.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    api.v1.customers.update(
        customer.id, {"invoice_settings": {"default_payment_method": method.id}}
    )
    once = uuid.uuid4().hex
    made = [
        api.v1.invoices.create(
            {
                "customer": customer.id,
                "currency": "usd",
                "collection_method": "charge_automatically",
                "auto_advance": False,
                "pending_invoice_items_behavior": "exclude",
            },
            {"idempotency_key": once},
        )
        for _ in range(2)
    ]
    assert made[0].id == made[1].id
    invoice_id = str(made[0].id)
    api.v1.invoices.add_lines(invoice_id, {"lines": [{"amount": 150, "description": "Audio"}]})
    assert api.v1.invoices.retrieve(invoice_id).total == 150
    api.v1.invoices.finalize_invoice(invoice_id, {"auto_advance": False})
    assert api.v1.invoices.pay(invoice_id, {}).status == "paid"
    note = api.v1.credit_notes.create(
        {"invoice": invoice_id, "amount": 50, "refund_amount": 50, "memo": "Noise"}
    )
    assert note.total == 50
