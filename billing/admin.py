"""Money in the operators' console: accounts, usage, invoices, and the monthly close."""

from fractions import Fraction
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.console import OnceForm, RowsToLookAt, find_or_404, form_page
from accounts.models import Tenant
from accounts.plans import Plan
from accounts.tenancy import operating_for
from billing.accounts import account_of
from billing.api import invoice_download, report_download
from billing.closing import close_month, find_mismatches, recount
from billing.credits import grant_credit
from billing.deposits import match_by_hand
from billing.invoicing import credit_invoice, draft_invoice, is_due, void_invoice
from billing.models import (
    BillingAccount,
    Credit,
    CreditNote,
    Invoice,
    Payment,
    Price,
    ServiceCredit,
    StripeMirror,
    UnmatchedDeposit,
    UsageEvent,
)
from billing.money import in_minor, shown
from billing.periods import Month
from billing.plan_changes import move_to_plan
from billing.quotas import spent_percent
from billing.reports import month_report, months_of
from billing.sla import decide, percent_of, service_level
from voicereel_site.errors import Refusal


class _PlanForm(forms.Form):
    plan = forms.ChoiceField(
        label=gettext_lazy("Plan"), choices=Plan.choices, widget=UnfoldAdminSelectWidget
    )
    next_month = forms.BooleanField(
        label=gettext_lazy("From the next month on, as downgrades are"),
        required=False,
        widget=UnfoldBooleanWidget,
    )


class _CreditForm(OnceForm):
    amount = forms.DecimalField(
        label=gettext_lazy("Amount"),
        min_value=0,
        max_digits=12,
        widget=UnfoldAdminDecimalFieldWidget,
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("As the invoice says it."),
    )


class _CorrectionForm(OnceForm):
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=200, widget=UnfoldAdminTextInputWidget
    )


class _CreditNoteForm(_CorrectionForm):
    amount = forms.DecimalField(
        label=gettext_lazy("Amount before tax"),
        min_value=0,
        max_digits=12,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=gettext_lazy("Empty: all that is left of it."),
    )


@admin.register(BillingAccount)
class BillingAccountAdmin(RowsToLookAt):
    """Who pays for a tenant; and what operators do about a tenant's money, by the tenant's id."""

    list_display = ["tenant", "standing", "currency", "pays_by", "audio_ms", "cap_minor"]
    list_select_related = ["tenant"]
    list_filter = ["standing", "pays_by", "currency"]
    ids = {"ten": "tenant"}
    search_fields = ["tenant__name"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:tenant_id>/plan", view(self.plan), name="plan-of-tenant"),
            path("<str:tenant_id>/credit", view(self.credit), name="grant-credit"),
            path("<str:tenant_id>/usage", view(self.usage), name="usage-of-tenant"),
            *super().get_urls(),
        ]

    def plan(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Set what a tenant pays for, and how much it may have at a time."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        form = _PlanForm(request.POST or None, initial={"plan": tenant.plan})
        if request.method == "POST" and form.is_valid():
            at = move_to_plan(tenant, **form.cleaned_data)
            done = _("%(tenant)s is on %(plan)s from %(at)s on.")
            when = f"{at:%Y-%m-%d %H:%M} UTC"
            named = {"tenant": tenant.name, "plan": form.cleaned_data["plan"], "at": when}
            messages.success(request, done % named)
            return redirect("admin:accounts_tenant_change", tenant_id)
        return form_page(
            self, request, _("Change the plan of %(tenant)s") % {"tenant": tenant.name}, form
        )

    def credit(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Take money off a tenant's next invoices."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        currency = account_of(tenant, timezone.now()).currency
        form = _CreditForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            try:
                amount_minor = in_minor(asked["amount"], currency)
                with transaction.atomic():
                    if form.is_first(request, tenant.pk):
                        grant_credit(tenant, amount_minor, currency, asked["reason"])
            except ValueError as exc:
                form.add_error("amount", str(exc))
            else:
                done = _("%(tenant)s has a credit of %(amount)s.")
                amount = shown(amount_minor, currency)
                messages.success(request, done % {"tenant": tenant.name, "amount": amount})
                return redirect("admin:accounts_tenant_change", tenant_id)
        title = _("Grant %(tenant)s a credit in %(currency)s")
        return form_page(self, request, title % {"tenant": tenant.name, "currency": currency}, form)

    def usage(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """A tenant's usage as it happens, any month's report, and its invoices."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        account = account_of(tenant, timezone.now())
        months = months_of(tenant, account)
        try:
            report = month_report(tenant, request.GET.get("month") or months[0])
        except Refusal as refusal:
            messages.error(request, refusal.detail)
            return redirect("admin:usage-of-tenant", tenant_id)
        if request.GET.get("as") in ("pdf", "csv"):
            return report_download(report, request.GET["as"])
        level = service_level(tenant, report.month)
        context = self.admin_site.each_context(request) | {
            "title": _("Usage of %(tenant)s") % {"tenant": tenant.name},
            "tenant": tenant,
            "account": account,
            "percent": spent_percent(account),
            "report": report,
            "months": months,
            "invoices": Invoice.objects.for_tenant(tenant).order_by("-month", "-pk")[:24],
            "available": percent_of(level.availability),
            "on_time": percent_of(level.on_time),
        }
        template = "admin/usage_live.html" if request.htmx else "admin/usage.html"
        return render(request, template, context)


@admin.register(UsageEvent)
class UsageEventAdmin(RowsToLookAt):
    list_display = ["occurred_at", "tenant", "meter", "quantity", "source", "speaker_id"]
    list_select_related = ["tenant"]
    ids = {"ten": "tenant", "evt": "pk"}
    search_fields = ["source__exact"]
    search_help_text = gettext_lazy("An event's id, a tenant's, or a source such as job:job_…")


@admin.register(Invoice)
class InvoiceAdmin(RowsToLookAt):
    list_display = ["number", "tenant", "month", "status", "total", "due_at", "paid_at"]
    list_select_related = ["tenant"]
    list_filter = ["status", "pays_by", "currency"]
    ids = {"ten": "tenant", "inv": "pk"}
    search_fields = ["number__exact"]
    search_help_text = gettext_lazy("An invoice's number or id, or a tenant's id")
    change_form_template = "admin/invoice.html"

    @admin.display(description=gettext_lazy("Total"))
    def total(self, invoice: Invoice) -> str:
        return shown(invoice.total_minor, invoice.currency)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("close", view(self.close), name="monthly-close"),
            path("<str:invoice_id>/pdf", view(self.pdf), name="invoice-pdf"),
            path("<str:invoice_id>/void", view(self.void), name="void-invoice"),
            path("<str:invoice_id>/credit-note", view(self.credit), name="credit-invoice"),
            *super().get_urls(),
        ]

    def pdf(self, request: HttpRequest, invoice_id: str) -> HttpResponseBase:
        """An invoice as its customer has it."""
        return invoice_download(find_or_404(Invoice.objects, invoice_id))

    def void(self, request: HttpRequest, invoice_id: str) -> HttpResponseBase:
        """Take back an invoice of which nothing was paid, so that its usage is billed anew."""
        invoice = find_or_404(Invoice.objects, invoice_id)
        form = _CorrectionForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                void_invoice(invoice, reason=form.cleaned_data["reason"])
            except Refusal as refusal:
                form.add_error(None, refusal.detail)
            else:
                messages.success(request, _("%(invoice)s is void.") % {"invoice": _called(invoice)})
                return redirect("admin:billing_invoice_change", invoice_id)
        return form_page(self, request, _("Void %(invoice)s") % {"invoice": _called(invoice)}, form)

    def credit(self, request: HttpRequest, invoice_id: str) -> HttpResponseBase:
        """Take back a part of a finalized invoice, or all of it; what was paid beyond goes back."""
        invoice = find_or_404(Invoice.objects, invoice_id)
        form = _CreditNoteForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            try:
                net = (
                    None if asked["amount"] is None else in_minor(asked["amount"], invoice.currency)
                )
                with transaction.atomic():
                    first = form.is_first(request, invoice.tenant_id)
                    note = credit_invoice(invoice, net, reason=asked["reason"]) if first else None
            except Refusal as refusal:
                form.add_error(None, refusal.detail)
            except ValueError as exc:
                form.add_error("amount", str(exc))
            else:
                if note is not None:
                    done = _("%(note)s takes back %(amount)s.")
                    amount = shown(note.total_minor, invoice.currency)
                    messages.success(request, done % {"note": note.number, "amount": amount})
                return redirect("admin:billing_invoice_change", invoice_id)
        title = _("Issue a credit note for %(invoice)s") % {"invoice": _called(invoice)}
        return form_page(self, request, title, form)

    def close(self, request: HttpRequest) -> HttpResponseBase:
        """What does not agree and how it is resolved, all drafts, and one action that numbers them."""
        if request.method == "POST":
            self._act(request)
            return redirect("admin:monthly-close")
        now = timezone.now()
        drafts = Invoice.objects.filter(status=Invoice.Status.DRAFT).select_related("tenant")
        found = find_mismatches()
        held = {one.tenant_id for one in found if one.blocks}
        rows = [
            (row, shown(row.total_minor, row.currency), is_due(row, now), row.tenant_id in held)
            for row in drafts.order_by("period_end", "pk")
        ]
        context = self.admin_site.each_context(request) | {
            "title": _("Monthly close"),
            "mismatches": found,
            "drafts": rows,
            "service_credits": [
                (
                    row,
                    percent_of(Fraction(row.availability)),
                    None if row.on_time is None else percent_of(Fraction(row.on_time)),
                    shown(row.amount_minor, row.currency),
                )
                for row in ServiceCredit.objects.filter(status=ServiceCredit.Status.PROPOSED)
                .select_related("tenant")
                .order_by("month", "pk")
            ],
            "ready": sum(due and not waits for _row, _total, due, waits in rows),
        }
        return render(request, "admin/monthly_close.html", context)

    def _act(self, request: HttpRequest) -> None:
        subject = request.POST.get("subject", "")
        match request.POST.get("do"):
            case "recount":
                recount(find_or_404(Tenant.objects, subject))
                messages.success(request, _("Counted again from the ledger."))
            case "draft":
                if _draft_again(find_or_404(Invoice.objects, subject)):
                    messages.success(request, _("Drafted anew."))
                else:
                    messages.error(request, _("It is no draft any more. Void or credit it."))
            case "grant" | "decline" as decision:
                row = find_or_404(ServiceCredit.objects.select_related("tenant"), subject)
                with operating_for(row.tenant_id):
                    decided = decide(row, grant=decision == "grant")
                if not decided:
                    messages.error(request, _("It was decided before."))
                elif decision == "grant":
                    messages.success(request, _("Granted. The next invoice has it."))
                else:
                    messages.success(request, _("Declined."))
            case "match":
                _match(request, subject)
            case "finalize":
                closed = close_month()
                done = _("%(count)s invoices were finalized, %(held)s things hold others.")
                named = {"count": len(closed.finalized), "held": len(closed.held)}
                messages.success(request, done % named)


def _called(invoice: Invoice) -> str:
    return invoice.number or invoice.pk


def _draft_again(invoice: Invoice) -> bool:
    """Draft a month anew. Returns whether that is still done."""
    if invoice.status != Invoice.Status.DRAFT:
        return False
    draft_invoice(invoice.tenant, Month.parse(invoice.month, invoice.time_zone))
    return True


def _match(request: HttpRequest, reference: str) -> None:
    deposit = find_or_404(UnmatchedDeposit.objects, reference)
    number = request.POST.get("invoice", "").replace("\0", "").strip()
    invoice = Invoice.objects.filter(number=number).exclude(number="").first()
    if invoice is None:
        messages.error(request, _("There is no invoice with the number %(n)s.") % {"n": number})
        return
    try:
        payment = match_by_hand(deposit, invoice)
    except (ValueError, Refusal) as exc:
        messages.error(request, exc.detail if isinstance(exc, Refusal) else str(exc))
        return
    done = _("%(reference)s is booked for %(invoice)s.")
    named = {"reference": payment.reference, "invoice": payment.invoice.number}
    messages.success(request, done % named)


def _look_at(model: type[Any], *columns: str, **options: Any) -> None:
    body = {"list_display": columns, "list_select_related": ["tenant"], **options}
    admin.site.register(model, type(f"{model.__name__}Admin", (RowsToLookAt,), body))


_look_at(Credit, "tenant", "amount_minor", "currency", "reason", "granted_at", "expires_at")
_look_at(CreditNote, "number", "tenant", "invoice", "total_minor", "issued_at", "refunded")
_look_at(Payment, "reference", "tenant", "invoice", "amount_minor", "currency", "received_at")
_look_at(Price, "plan", "currency", "tenant", "base_fee_minor", "included_ms", "valid_from")
_look_at(StripeMirror, "subject", "tenant", "state", "attempts", "last_error", "created_at")
_look_at(
    UnmatchedDeposit,
    *("reference", "payer", "amount_minor", "currency", "received_at"),
    list_select_related=False,
)
