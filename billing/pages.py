"""The pages of money: invoices, who pays them and how, and how much at most."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ValidationError

from accounts.people.pages import page
from accounts.scopes import Scope, holds
from billing.account_changes import update_account
from billing.accounts import account_of, current_plan, spent
from billing.api import invoice_download
from billing.cards import card_setup_url, portal_url
from billing.invoicing import ask_to_charge, get_invoice, is_chargeable, open_minor
from billing.models import BillingAccount, Invoice
from billing.money import Currency, ceiling, in_minor, plain
from billing.quotas import spent_percent
from billing.reports import months_of
from billing.serializers import UpdateBillingRequest
from billing.sla import (
    PROMISED_AT_LEAST,
    PROMISED_BY_AUDIO,
    TARGET,
    level_of_month,
    percent_of,
)
from billing.wording import LANGUAGES
from voicereel_site.errors import Refusal, refusal_of, show_on_form

_INVOICES_SHOWN = 24


@page("GET", scope=Scope.BILLING_READ)
def invoice_list(request: HttpRequest) -> HttpResponseBase:
    tenant = request.member.tenant
    rows = Invoice.objects.for_tenant(tenant).order_by("-pk")
    if before := request.GET.get("before", "").replace("\0", ""):
        rows = rows.filter(pk__lt=before)
    found = list(rows[: _INVOICES_SHOWN + 1])
    context = {
        "invoices": found[:_INVOICES_SHOWN],
        "older": found[_INVOICES_SHOWN - 1].pk if len(found) > _INVOICES_SHOWN else "",
    }
    return render(request, "pages/invoices.html", context)


@page("GET", scope=Scope.USAGE_READ)
def service(request: HttpRequest) -> HttpResponseBase:
    """How well what we promise was kept, in a month."""
    tenant = request.member.tenant
    account = account_of(tenant, timezone.now())
    months = months_of(tenant, account)
    level = level_of_month(account, request.GET.get("month") or months[0])
    days = [(day, level.availability_on(day)) for day in sorted(level.intervals)]
    context = {
        "level": level,
        "months": months,
        "availability": percent_of(level.availability),
        "on_time": percent_of(level.on_time),
        "promised": percent_of(TARGET),
        "days": [
            (day, percent_of(share), share is not None and share < TARGET) for day, share in days
        ],
        "at_least_s": PROMISED_AT_LEAST.seconds,
        "by_audio": PROMISED_BY_AUDIO,
    }
    return render(request, "pages/service.html", context)


@page("GET", scope=Scope.BILLING_READ)
def invoice(request: HttpRequest, invoice_id: str) -> HttpResponseBase:
    row = get_invoice(request.member.tenant, invoice_id)
    account = account_of(request.member.tenant, timezone.now())
    context = {
        "invoice": row,
        "account": account,
        "lines": row.lines.order_by("position"),
        "credit_notes": row.credit_notes.order_by("issued_at"),
        "payments": row.payments.order_by("received_at"),
        "open_minor": open_minor(row),
        "may_pay": is_chargeable(row)
        and bool(settings.STRIPE_KEY)
        and holds(request.member.scopes, Scope.BILLING_WRITE),
    }
    return render(request, "pages/invoice.html", context)


@page("GET", scope=Scope.BILLING_READ)
def invoice_pdf(request: HttpRequest, invoice_id: str) -> HttpResponseBase:
    return invoice_download(get_invoice(request.member.tenant, invoice_id))


@page("POST", scope=Scope.BILLING_WRITE, refused_as="part")
def pay(request: HttpRequest, invoice_id: str) -> HttpResponseBase:
    """Charge an invoice to the card; where there is none yet, ask for one first, at Stripe."""
    tenant = request.member.tenant
    row = get_invoice(tenant, invoice_id)
    if not account_of(tenant, timezone.now()).has_card:
        return _to(card_setup_url(tenant, _here(request, "invoice", invoice_id)))
    ask_to_charge(row)
    messages.success(request, _("The card is being charged. The invoice says so within a minute."))
    return _to(reverse("invoice", args=[invoice_id]))


def _here(request: HttpRequest, name: str, *args: str) -> str:
    return request.build_absolute_uri(reverse(name, args=args))


def _to(url: str) -> HttpResponse:
    """Lead the browser on by htmx: a form may lead to our own pages alone (form-action)."""
    return HttpResponse(status=204, headers={"HX-Redirect": url})


class _Account(forms.Form):
    """What UpdateBillingRequest takes, for people."""

    legal_name = forms.CharField(label=gettext_lazy("Company"), max_length=200, required=False)
    country = forms.CharField(
        label=gettext_lazy("Country"),
        max_length=2,
        required=False,
        help_text=gettext_lazy("Two letters, such as KR."),
    )
    address = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    tax_id = forms.CharField(
        label=gettext_lazy("Tax id"),
        max_length=30,
        required=False,
        help_text=gettext_lazy("In Korea the business registration number."),
    )
    representative = forms.CharField(
        label=gettext_lazy("Representative (Korea)"), max_length=100, required=False
    )
    business_type = forms.CharField(
        label=gettext_lazy("Type of business (Korea)"), max_length=100, required=False
    )
    business_item = forms.CharField(
        label=gettext_lazy("Item of business (Korea)"), max_length=100, required=False
    )
    email = forms.EmailField(
        label=gettext_lazy("Where invoices go"),
        max_length=254,
        required=False,
        help_text=gettext_lazy("Empty: to the members who may see them."),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language of invoices"),
        choices=[(code, dict(settings.LANGUAGES)[code]) for code in LANGUAGES],
    )
    currency = forms.ChoiceField(
        label=gettext_lazy("Currency"), choices=[(code, code) for code in Currency.values]
    )
    time_zone = forms.CharField(
        label=gettext_lazy("Billing time zone"),
        max_length=50,
        help_text=gettext_lazy("Such as Asia/Seoul; until the first invoice."),
    )


@page("GET", scope=Scope.BILLING_READ)
def billing(request: HttpRequest) -> HttpResponseBase:
    account = account_of(request.member.tenant, timezone.now())
    return _billing(request, account, _initial(account))


def _initial(account: BillingAccount) -> _Account:
    return _Account(initial={name: getattr(account, name) for name in _Account.base_fields})


def _billing(
    request: HttpRequest, account: BillingAccount, form: _Account, status: int = 200
) -> HttpResponse:
    may_write = holds(request.member.scopes, Scope.BILLING_WRITE)
    if not may_write:
        for field in form.fields.values():
            field.disabled = True
    cap = account.cap_minor
    context = {
        "account": account,
        "plan": current_plan(account.tenant_id, timezone.now()),
        "spent_minor": ceiling(spent(account)),
        "percent": spent_percent(account),
        "cap": "" if cap is None else plain(cap, account.currency),
        "cards": bool(settings.STRIPE_KEY),
        "seller": settings.SELLER,
        "form": form,
        "may_write": may_write,
    }
    return render(request, "pages/billing.html", context, status=status)


@page("POST", scope=Scope.BILLING_WRITE)
def change_billing(request: HttpRequest) -> HttpResponseBase:
    """Change who pays, or how much a month may cost."""
    tenant = request.member.tenant
    of_company = request.POST.get("do") not in ("cap", "pays_by")
    form = _Account(request.POST) if of_company else _initial(account_of(tenant, timezone.now()))
    changes: dict[str, Any]
    if request.POST.get("do") == "cap":
        account = account_of(tenant, timezone.now())
        changes = {"cap_minor": _cap(request.POST.get("cap", ""), account.currency)}
        done = _("The limit was changed.")
    elif request.POST.get("do") == "pays_by":
        changes = {"pays_by": request.POST.get("pays_by", "")}
        done = _("The way of paying was changed.")
    else:
        if not form.is_valid():
            return _billing(request, account_of(tenant, timezone.now()), form, status=422)
        changes = dict(form.cleaned_data)
        if not changes["country"]:
            del changes["country"]
        done = _("The account was changed.")
    body = UpdateBillingRequest(data=changes)
    try:
        body.is_valid(raise_exception=True)
        update_account(tenant, body.validated_data)
    except (ValidationError, Refusal) as exc:
        if not of_company:
            raise
        show_on_form(form, refusal_of(exc).errors)
        return _billing(request, account_of(tenant, timezone.now()), form, status=422)
    messages.success(request, done)
    return redirect("billing")


def _cap(text: str, currency: str) -> int | None:
    """An amount as people write it; nothing: no limit. Raises validation_error."""
    text = text.strip().replace(",", "")
    if not text:
        return None
    try:
        return in_minor(Decimal(text), currency)
    except (InvalidOperation, ValueError, OverflowError) as exc:
        detail = _("“%(amount)s” is no amount in %(currency)s.")
        shown = {"amount": text[:30], "currency": currency}
        raise Refusal("validation_error", detail % shown) from exc


@page("POST", scope=Scope.BILLING_WRITE, refused_as="part")
def card(request: HttpRequest) -> HttpResponseBase:
    """To Stripe's page, on which a card is given or changed."""
    tenant = request.member.tenant
    back = _here(request, "billing")
    known = account_of(tenant, timezone.now()).has_card
    return _to(portal_url(tenant, back) if known else card_setup_url(tenant, back))
