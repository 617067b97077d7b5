"""A tenant's card: given to Stripe on its own pages, never to us; and what Stripe's events tell of."""

from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Tenant
from accounts.tenancy import operating_for
from billing.accounts import account_of
from billing.models import BillingAccount, StripeEvent, StripeMirror
from billing.stripe_mirror import client, retry_payment, take_invoice
from voicereel_site.errors import Refusal

log = structlog.get_logger(__name__)

_AT_A_TIME = 500


def _available() -> stripe.StripeClient:
    if not settings.STRIPE_KEY:
        detail = _("Cards are not taken here; invoices are paid by bank transfer.")
        raise Refusal("validation_error", detail, 409)
    return client()


def card_setup_url(tenant: Tenant, back: str) -> str:
    """Where a person gives Stripe a card for a tenant. back: where they come to afterwards.

    Raises validation_error (409) where cards are not taken, service_unavailable while Stripe is away.
    """
    api = _available()
    with _as_outage():
        customer = _customer(api, tenant)
        session = api.v1.checkout.sessions.create(
            {
                "mode": "setup",
                "customer": customer,
                "currency": account_of(tenant, timezone.now()).currency.lower(),
                "success_url": back,
                "cancel_url": back,
                "metadata": {"tenant": tenant.pk},
            }
        )
    return str(session.url)


def portal_url(tenant: Tenant, back: str) -> str:
    """Where a person changes or removes a tenant's card. Raises as card_setup_url."""
    api = _available()
    with _as_outage():
        customer = _customer(api, tenant)
        session = api.v1.billing_portal.sessions.create({"customer": customer, "return_url": back})
    return str(session.url)


class _as_outage:
    """Stripe that does not answer is an outage of ours, which says when to come again."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, stripe.StripeError):
            log.warning("stripe.failed", error=type(error).__name__)
            detail = _("The payment service does not answer at the moment. Try again in a minute.")
            headers = {"Retry-After": "60"}
            raise Refusal("service_unavailable", detail, 503, headers=headers) from error


def _customer(api: stripe.StripeClient, tenant: Tenant) -> str:
    row = account_of(tenant, timezone.now())
    if not row.stripe_customer_id:
        made = api.v1.customers.create(
            {
                "name": row.legal_name or tenant.name,
                "metadata": {"tenant": tenant.pk},
                **({"email": row.email} if row.email else {}),
            },
            {"idempotency_key": f"{tenant.pk}:customer"},
        )
        BillingAccount.objects.for_tenant(tenant).update(stripe_customer_id=made.id)
        return str(made.id)
    return row.stripe_customer_id


def note_event(payload: bytes, signature: str) -> bool:
    """Keep an event of Stripe's, to be taken later. Returns whether its signature is right.

    Nothing of it is believed but its id and what it is about: that is asked of Stripe again.
    """
    try:
        event: Any = stripe.Webhook.construct_event(
            payload, signature, settings.STRIPE_WEBHOOK_SECRET
        )
    except (ValueError, stripe.SignatureVerificationError):
        return False
    StripeEvent.objects.get_or_create(
        pk=event.id, defaults={"kind": event.type, "subject": event.data.object["id"]}
    )
    return True


def take_events() -> int:
    """Take the events that came: each once, in whatever order they are. Returns how many."""
    taken = 0
    waiting = StripeEvent.objects.filter(handled_at=None).order_by("received_at")[:_AT_A_TIME]
    for event in waiting:
        try:
            _take(event)
        except stripe.StripeError as exc:
            log.warning("stripe.failed", event_id=event.pk, error=type(exc).__name__)
            break  # the others would wait for it too
        StripeEvent.objects.filter(pk=event.pk).update(handled_at=timezone.now())
        taken += 1
    return taken


def _take(event: StripeEvent) -> None:
    if event.kind.startswith("invoice."):
        row = StripeMirror.objects.filter(stripe_id=event.subject).first()
        if row is not None and row.state in (
            StripeMirror.State.FINALIZED,
            StripeMirror.State.DECLINED,
        ):
            with operating_for(row.tenant_id):
                take_invoice(row)
    elif event.kind == "checkout.session.completed":
        _take_card(client().v1.checkout.sessions.retrieve(event.subject))


def _take_card(session: Any) -> None:
    """A card was given: it is the customer's own from here on, and pays what was declined."""
    if session.mode != "setup" or session.status != "complete" or not session.setup_intent:
        return
    account = BillingAccount.objects.filter(stripe_customer_id=session.customer).first()
    if account is None:
        return
    api = client()
    intent = api.v1.setup_intents.retrieve(session.setup_intent)
    api.v1.customers.update(
        session.customer,
        {"invoice_settings": {"default_payment_method": str(intent.payment_method)}},
        {"idempotency_key": f"{session.id}:default"},
    )
    with operating_for(account.tenant_id), transaction.atomic():
        rows = BillingAccount.objects.for_tenant(account.tenant_id)
        rows.update(has_card=True, pays_by=BillingAccount.PaysBy.CARD)
        audit.record(account.tenant_id, "billing.card", account.tenant_id)
        declined = StripeMirror.objects.for_tenant(account.tenant_id).filter(
            state=StripeMirror.State.DECLINED
        )
        for row in declined:
            retry_payment(row)
