"""/v1/usage, /v1/invoices and /v1/billing"""

import csv
import io
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.scopes import Scope
from billing.account_changes import update_account
from billing.accounts import account_of, current_plan, spent
from billing.cards import card_setup_url, note_event, portal_url
from billing.documents import invoice_pdf, report_pdf
from billing.invoicing import get_invoice
from billing.models import BillingAccount, Invoice, InvoiceLineEvent
from billing.money import ceiling
from billing.periods import Month
from billing.reports import MonthReport, month_report, report_csv, usage_between
from billing.serializers import (
    BillingResponse,
    InvoicePage,
    InvoiceQuery,
    InvoiceResponse,
    MonthReportResponse,
    PageResponse,
    ReturnRequest,
    ServiceLevelQuery,
    ServiceLevelResponse,
    UpdateBillingRequest,
    UsageBucket,
    UsageQuery,
    UsageResponse,
    totals,
)
from billing.sla import level_of_month
from voicereel_site.answers import Response
from voicereel_site.errors import (
    FieldError,
    Refusal,
    method_not_allowed,
    not_found,
    problem_response,
)
from voicereel_site.pagination import page
from voicereel_site.views import ApiView


class UsageView(ApiView):
    """GET /v1/usage"""

    scopes = {"GET": Scope.USAGE_READ}

    @extend_schema(operation_id="getUsage", parameters=[UsageQuery], responses={200: UsageResponse})
    def get(self, request: Request) -> Response:
        """What you used, up to now: by hour, day or month, and by key, speaker or project."""
        query = UsageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        now = timezone.now()
        account = account_of(request.auth.tenant, now)
        start = asked.get("start") or Month.containing(now, account.time_zone).start
        end = asked.get("end") or now
        if start >= end:
            detail = _("The start has to lie before the end.")
            raise Refusal("validation_error", detail, errors=[FieldError("/start", detail)])
        rows = usage_between(account, start, end, asked["granularity"], asked["group_by"])
        shown = UsageBucket().to_representation
        summed: dict[str, int] = {
            name: sum(row.quantities[name] for row in rows) for name in ("audio_ms", "characters")
        }
        return Response(
            {
                "time_zone": account.time_zone,
                "granularity": asked["granularity"],
                "start": start,
                "end": end,
                "totals": totals(summed),
                "data": [shown(row) for row in rows],
            }
        )


class ReportView(ApiView):
    """GET /v1/usage/reports/{month}"""

    scopes = {"GET": Scope.USAGE_READ}

    @extend_schema(operation_id="getUsageReport", responses={200: MonthReportResponse})
    def get(self, request: Request, month: str) -> Response:
        """A month's usage and what it costs, such as of 2026-11, in your billing zone."""
        report = month_report(request.auth.tenant, month)
        return Response(MonthReportResponse().to_representation(report))


class ReportCsvView(ApiView):
    """GET /v1/usage/reports/{month}/csv"""

    scopes = {"GET": Scope.USAGE_READ}

    @extend_schema(
        operation_id="getUsageReportCsv", responses={(200, "text/csv"): OpenApiTypes.STR}
    )
    def get(self, request: Request, month: str) -> HttpResponse:
        """A month's usage by day, key, speaker and project, for spreadsheets."""
        return report_download(month_report(request.auth.tenant, month), "csv")


class ReportPdfView(ApiView):
    """GET /v1/usage/reports/{month}/pdf"""

    scopes = {"GET": Scope.USAGE_READ}

    @extend_schema(
        operation_id="getUsageReportPdf", responses={(200, "application/pdf"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, month: str) -> HttpResponse:
        """A month's usage and what it costs, to print."""
        return report_download(month_report(request.auth.tenant, month), "pdf")


class ServiceLevelView(ApiView):
    """GET /v1/sla"""

    scopes = {"GET": Scope.USAGE_READ}

    @extend_schema(
        operation_id="getServiceLevel",
        parameters=[ServiceLevelQuery],
        responses={200: ServiceLevelResponse},
    )
    def get(self, request: Request) -> Response:
        """How well we kept what we promise: availability and processing, in a month."""
        query = ServiceLevelQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        account = account_of(request.auth.tenant, timezone.now())
        level = level_of_month(account, query.validated_data.get("month"))
        return Response(ServiceLevelResponse().to_representation(level))


class InvoiceListView(ApiView):
    """GET /v1/invoices"""

    scopes = {"GET": Scope.BILLING_READ}

    @extend_schema(
        operation_id="listInvoices", parameters=[InvoiceQuery], responses={200: InvoicePage}
    )
    def get(self, request: Request) -> Response:
        """List your invoices, newest first."""
        query = InvoiceQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = Invoice.objects.for_tenant(request.auth.tenant)
        rows = rows.prefetch_related("lines", "credit_notes")
        if status := query.validated_data.get("status"):
            rows = rows.filter(status=status)
        shape = InvoiceResponse().to_representation
        return Response(page(rows, query.validated_data, shape))


class InvoiceView(ApiView):
    """GET /v1/invoices/{id}"""

    scopes = {"GET": Scope.BILLING_READ}

    @extend_schema(operation_id="getInvoice", responses={200: InvoiceResponse})
    def get(self, request: Request, invoice_id: str) -> Response:
        """One invoice, with its lines and credit notes."""
        row = get_invoice(request.auth.tenant, invoice_id)
        return Response(InvoiceResponse().to_representation(row))


class InvoicePdfView(ApiView):
    """GET /v1/invoices/{id}/pdf"""

    scopes = {"GET": Scope.BILLING_READ}

    @extend_schema(
        operation_id="getInvoicePdf", responses={(200, "application/pdf"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, invoice_id: str) -> HttpResponse:
        """An invoice to print. A draft says that it is one."""
        return invoice_download(get_invoice(request.auth.tenant, invoice_id))


class InvoiceEventsView(ApiView):
    """GET /v1/invoices/{id}/events"""

    scopes = {"GET": Scope.BILLING_READ}

    @extend_schema(operation_id="getInvoiceEvents", responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, invoice_id: str) -> HttpResponse:
        """Each piece of usage that an invoice bills, and the one line that bills it (CSV)."""
        row = get_invoice(request.auth.tenant, invoice_id)
        ties = (
            InvoiceLineEvent.objects.for_tenant(request.auth.tenant)
            .filter(line__invoice=row)
            .select_related("event")
            .order_by("line__position", "event__occurred_at", "event_id")
        )
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(
            ["line_id", "event_id", "source", "occurred_at", "audio_ms", "speaker_id", "api_key_id"]
        )
        for tie in ties:
            event = tie.event
            writer.writerow(
                [
                    *(tie.line_id, event.pk, event.source, event.occurred_at.isoformat()),
                    *(event.quantity, event.speaker_id, event.api_key_id),
                ]
            )
        return _download(out.getvalue().encode(), f"{row.number or row.pk}.csv", "text/csv")


class BillingView(ApiView):
    """GET and PATCH /v1/billing"""

    scopes = {"GET": Scope.BILLING_READ, "PATCH": Scope.BILLING_WRITE}

    @extend_schema(operation_id="getBilling", responses={200: BillingResponse})
    def get(self, request: Request) -> Response:
        """Who pays, how, how much at most, and how much it is so far this month."""
        return Response(_billing(account_of(request.auth.tenant, timezone.now())))

    @extend_schema(
        operation_id="updateBilling",
        request=UpdateBillingRequest,
        responses={200: BillingResponse},
    )
    def patch(self, request: Request) -> Response:
        """Change who pays, how, or how much at most."""
        body = UpdateBillingRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(_billing(update_account(request.auth.tenant, body.validated_data)))


class CardView(ApiView):
    """POST /v1/billing/card"""

    scopes = {"POST": Scope.BILLING_WRITE}

    @extend_schema(operation_id="addCard", request=ReturnRequest, responses={200: PageResponse})
    def post(self, request: Request) -> Response:
        """Get a page of Stripe's on which a person gives a card. Invoices are charged to it from then on."""
        body = ReturnRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(
            {"url": card_setup_url(request.auth.tenant, body.validated_data["return_url"])}
        )


class PortalView(ApiView):
    """POST /v1/billing/portal"""

    scopes = {"POST": Scope.BILLING_WRITE}

    @extend_schema(
        operation_id="openBillingPortal", request=ReturnRequest, responses={200: PageResponse}
    )
    def post(self, request: Request) -> Response:
        """Get a page of Stripe's on which a person changes the card."""
        body = ReturnRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return Response({"url": portal_url(request.auth.tenant, body.validated_data["return_url"])})


@csrf_exempt
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Stripe's events. The signature is the permission; what they say is asked of Stripe again."""
    if request.method != "POST":
        return method_not_allowed(request, ["POST"])
    if not settings.STRIPE_WEBHOOK_SECRET or not note_event(
        request.body, request.headers.get("Stripe-Signature", "")
    ):
        return problem_response(401, "invalid_signature", _("This is not signed by Stripe."))
    return HttpResponse(status=204)


def _billing(row: BillingAccount) -> dict[str, Any]:
    now = timezone.now()
    month = Month.containing(now, row.time_zone)
    return {
        "plan": current_plan(row.tenant_id, now),
        **{
            name: getattr(row, name)
            for name in (
                *("standing", "currency", "time_zone", "country", "legal_name", "address", "email"),
                *("language", "tax_id", "representative", "business_type", "business_item"),
                *("pays_by", "has_card", "cap_minor"),
            )
        },
        "running": {
            "month": month.name,
            "starts_at": month.start,
            "ends_at": month.end,
            "spent_minor": ceiling(spent(row)),
            "audio_ms": row.audio_ms,
            "included_ms": row.included_ms,
        },
    }


def report_download(report: MonthReport, kind: str) -> HttpResponse:
    """A month's report as a file. kind: csv or pdf. Raises not_found."""
    name = f"usage-{report.month.name}.{kind}"
    match kind:
        case "csv":
            return _download(report_csv(report).encode(), name, "text/csv")
        case "pdf":
            return _download(report_pdf(report), name, "application/pdf")
    raise not_found("report")


def invoice_download(row: Invoice) -> HttpResponse:
    """An invoice as a file to print."""
    name = f"{row.number or 'draft-' + row.month}.pdf"
    return _download(invoice_pdf(row), name, "application/pdf")


def _download(content: bytes, name: str, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
