"""Tenants, people and the audit log in the operators' console. Rows are looked at, and changed by what
the domain functions do alone.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts import audit, outbox
from accounts.callers import enter
from accounts.console import ReasonForm, RowsToLookAt, find_or_404, form_page
from accounts.identifiers import first_id
from accounts.impersonation import LONGEST, start_impersonation
from accounts.limits import set_own_limits
from accounts.models import (
    AuditEvent,
    DataExport,
    Erasure,
    Impersonation,
    Membership,
    OutboxMessage,
    Tenant,
    User,
    WebhookDelivery,
    WebhookEndpoint,
)
from accounts.plans import allowance_of
from accounts.privacy.erasures import begin_tenant_erasure
from accounts.privacy.exports import request_export
from accounts.suspension import restore, suspend
from voicereel_site.errors import Refusal, show_on_form

_MINUTES = 30


class _LimitsForm(forms.Form):
    """How much a tenant may have at a time. Empty: as its plan has it."""

    requests = forms.IntegerField(label=gettext_lazy("Requests"), min_value=1, required=False)
    jobs = forms.IntegerField(label=gettext_lazy("Unfinished jobs"), min_value=1, required=False)
    lines = forms.IntegerField(
        label=gettext_lazy("Lines that are yet to be spoken"), min_value=2_000, required=False
    )
    in_hand = forms.IntegerField(
        label=gettext_lazy("Jobs that workers have"), min_value=1, required=False
    )

    def __init__(self, tenant: Tenant, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, initial=tenant.own_limits, **kwargs)
        of_plan = allowance_of(tenant.plan)
        for name, field in self.fields.items():
            field.widget = UnfoldAdminIntegerFieldWidget()
            most = f"{getattr(of_plan, name):,}"
            if name == "requests":
                most = _("%(requests)s in %(seconds)s s") % {
                    "requests": most,
                    "seconds": of_plan.window_s,
                }
            allowed = {"plan": tenant.plan, "most": most}
            field.help_text = _("The plan %(plan)s allows %(most)s.") % allowed


class _EraseForm(forms.Form):
    confirm = forms.CharField(
        label=gettext_lazy("Its id, to confirm"), widget=UnfoldAdminTextInputWidget
    )


class _ImpersonateForm(ReasonForm):
    minutes = forms.IntegerField(
        label=gettext_lazy("Minutes"),
        initial=_MINUTES,
        min_value=1,
        max_value=int(LONGEST.total_seconds() // 60),
        widget=UnfoldAdminIntegerFieldWidget,
    )
    may_write = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget,
        label=gettext_lazy("May change speakers, jobs and pronunciations"),
    )


@admin.register(Tenant)
class TenantAdmin(RowsToLookAt):
    list_display = ["name", "id", "plan", "suspended_at", "created_at"]
    list_filter = ["plan", ("suspended_at", admin.EmptyFieldListFilter)]
    ids = {"ten": "pk"}
    search_fields = ["name"]
    search_help_text = gettext_lazy("A tenant's id, or a part of its name")
    change_form_template = "admin/tenant.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:tenant_id>/suspend", view(self.suspend), name="suspend-tenant"),
            path("<str:tenant_id>/restore", view(self.restore), name="restore-tenant"),
            path("<str:tenant_id>/limits", view(self.limits), name="limit-tenant"),
            path("<str:tenant_id>/export", view(self.export), name="export-tenant"),
            path("<str:tenant_id>/erase", view(self.erase), name="erase-tenant"),
            *super().get_urls(),
        ]

    def suspend(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Refuse a tenant's requests from the next one on, with a reason that it reads."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                suspend(tenant, form.cleaned_data["reason"])
            except Refusal as refusal:
                show_on_form(form, refusal.errors)
            else:
                messages.success(request, _("%(tenant)s is suspended.") % {"tenant": tenant.name})
                return redirect("admin:accounts_tenant_change", tenant_id)
        return form_page(self, request, _("Suspend %(tenant)s") % {"tenant": tenant.name}, form)

    def restore(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Let a suspended tenant in again."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        if request.method != "POST":
            return form_page(
                self, request, _("Let %(tenant)s in again") % {"tenant": tenant.name}, forms.Form()
            )
        restore(tenant)
        messages.success(request, _("%(tenant)s is let in again.") % {"tenant": tenant.name})
        return redirect("admin:accounts_tenant_change", tenant_id)

    def limits(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Allow a tenant more or less at a time than its plan does."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        form = _LimitsForm(tenant, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            own = {name: value for name, value in form.cleaned_data.items() if value is not None}
            set_own_limits(tenant, own)
            messages.success(
                request, _("%(tenant)s has these limits from now on.") % {"tenant": tenant.name}
            )
            return redirect("admin:accounts_tenant_change", tenant_id)
        return form_page(
            self, request, _("Change limits of %(tenant)s") % {"tenant": tenant.name}, form
        )

    def export(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Have a tenant's archive made, which its people can fetch."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        if request.method != "POST":
            return form_page(
                self,
                request,
                _("Export all data of %(tenant)s") % {"tenant": tenant.name},
                forms.Form(),
            )
        try:
            with transaction.atomic():
                row = request_export(tenant)
            messages.success(request, _("%(export)s is being made.") % {"export": row.pk})
        except Refusal as refusal:
            messages.error(request, refusal.detail)
        return redirect("admin:accounts_tenant_change", tenant_id)

    def erase(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Erase a tenant for good, once its id was typed."""
        tenant = find_or_404(Tenant.objects, tenant_id)
        form = _EraseForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["confirm"] == tenant.pk:
                with transaction.atomic():
                    row = begin_tenant_erasure(tenant.pk, requested_by=request.user.pk)
                messages.success(
                    request,
                    _("%(tenant)s is being erased: %(erasure)s.")
                    % {"tenant": tenant.name, "erasure": row.pk},
                )
                return redirect("admin:accounts_erasure_change", row.pk)
            form.add_error("confirm", _("This is another id."))
        return form_page(
            self, request, _("Erase %(tenant)s for good") % {"tenant": tenant.name}, form
        )


@admin.register(Membership)
class MembershipAdmin(RowsToLookAt):
    list_display = ["user", "tenant", "role", "joined_at"]
    list_filter = ["role"]
    list_select_related = ["user", "tenant"]
    ids = {"ten": "tenant"}
    search_fields = ["user__email", "tenant__name"]
    change_form_template = "admin/membership.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:membership_id>/impersonate", view(self.impersonate), name="impersonate"),
            *super().get_urls(),
        ]

    def impersonate(self, request: HttpRequest, membership_id: str) -> HttpResponseBase:
        """Come in a member's place, with a reason."""
        rows = Membership.objects.select_related("user", "tenant")
        membership = find_or_404(rows, membership_id)
        form = _ImpersonateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                row = start_impersonation(request.user, membership, **form.cleaned_data)
            except Refusal as refusal:
                form.add_error(None, refusal.detail)
            else:
                enter(request, row)
                return redirect("home")
        title = _("Impersonate %(user)s of %(tenant)s") % {
            "user": membership.user,
            "tenant": membership.tenant,
        }
        return form_page(self, request, title, form)


@admin.register(User)
class UserAdmin(RowsToLookAt):
    list_display = ["email", "name", "operator", "is_active", "last_login"]
    list_select_related = ["operator"]
    search_fields = ["email", "name"]
    exclude = ["password"]


@admin.register(AuditEvent)
class AuditEventAdmin(RowsToLookAt):
    list_display = [
        "at",
        "tenant_id",
        "action",
        "actor_kind",
        "actor_name",
        "in_place_of",
        "target",
    ]
    list_filter = ["actor_kind"]
    ids = {"ten": "tenant", "aud": "pk"}
    search_fields = ["target__exact"]
    search_help_text = gettext_lazy("A tenant's id, or what something was done to, such as job_…")


@admin.register(OutboxMessage)
class DeadLetterAdmin(RowsToLookAt):
    """What nobody would take for a day. A mail's text is not shown: it may hold a code that logs in."""

    list_display = [
        "id",
        "given_up_at",
        "kind",
        "task",
        "subject",
        "tenant_id",
        "attempts",
        "last_error",
    ]
    list_filter = ["kind"]
    ids = {"ten": "tenant_id"}
    search_fields = ["subject__exact"]
    fields = [
        "kind",
        "task",
        "subject",
        "tenant_id",
        "created_at",
        "given_up_at",
        "attempts",
        "last_error",
    ]
    actions = ["requeue"]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[OutboxMessage]:
        return super().get_queryset(request).exclude(given_up_at=None)

    @admin.display(description=gettext_lazy("Task"))
    def task(self, message: OutboxMessage) -> str:
        return str(message.payload.get("task", ""))

    @admin.action(description=gettext_lazy("Requeue: give it another day"))
    def requeue(self, request: HttpRequest, letters: models.QuerySet[OutboxMessage]) -> None:
        with transaction.atomic():
            found = list(letters)
            for message in found:
                outbox.requeue(message)
                audit.record(None, "dead_letter.requeued", message.subject, of=message.tenant_id)
        messages.success(request, _("%(count)s requeued.") % {"count": len(found)})


_STATUSES = WebhookDelivery.Status
_LATELY = timedelta(days=1)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(RowsToLookAt):
    """Whether customers take what they are told. Addresses may hold secrets: the host alone is shown."""

    list_display = ["id", "tenant", "host", "health", "undelivered", "failing_since", "disabled_at"]
    list_select_related = ["tenant"]
    list_filter = [
        ("failing_since", admin.EmptyFieldListFilter),
        ("disabled_at", admin.EmptyFieldListFilter),
    ]
    ids = {"ten": "tenant"}
    search_fields = ["id__exact"]
    fields = [
        *("id", "tenant", "host", "events", "created_at"),
        *("failing_since", "disabled_at", "disabled_reason"),
    ]
    readonly_fields = ["host"]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[WebhookEndpoint]:
        rows = super().get_queryset(request)
        of_each = WebhookDelivery.objects.filter(endpoint=models.OuterRef("pk"))
        lately = of_each.filter(pk__gte=first_id("msg", timezone.now() - _LATELY))
        failed = lately.exclude(status=_STATUSES.DELIVERED).order_by().values("endpoint")
        return rows.annotate(
            undelivered=models.Subquery(failed.annotate(n=models.Count("pk")).values("n"))
        )

    @admin.display(description=gettext_lazy("Host"))
    def host(self, endpoint: WebhookEndpoint) -> str:
        return urlsplit(endpoint.url).hostname or ""

    @admin.display(description=gettext_lazy("Health"))
    def health(self, endpoint: WebhookEndpoint) -> str:
        if endpoint.disabled_at is not None:
            return _("disabled")
        return _("works") if endpoint.failing_since is None else _("fails")

    @admin.display(description=gettext_lazy("Not delivered in a day"))
    def undelivered(self, endpoint: WebhookEndpoint) -> int:
        return endpoint.undelivered or 0


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(RowsToLookAt):
    """How deliveries went, without what they said."""

    list_display = ["id", "tenant", "endpoint_id", "event", "status", "attempt_count", "created_at"]
    list_select_related = ["tenant"]
    list_filter = ["status"]
    ids = {"whe": "endpoint"}
    search_fields = ["id__exact"]
    search_help_text = gettext_lazy("A delivery's id, or an endpoint's")
    fields = [
        *("id", "tenant", "endpoint_id", "event", "status", "attempt_count", "attempts"),
        *("created_at", "next_attempt_at", "give_up_at", "delivered_at"),
    ]
    readonly_fields = ["endpoint_id"]


def _look_at(model: type[models.Model], *columns: str) -> None:
    admin.site.register(
        model, type(f"{model.__name__}Admin", (RowsToLookAt,), {"list_display": columns})
    )


_look_at(
    Impersonation, "operator", "membership", "may_write", "started_at", "expires_at", "ended_at"
)
_look_at(DataExport, "id", "tenant", "status", "archive_bytes", "created_at", "finished_at")
_look_at(Erasure, "id", "tenant_id", "speaker_id", "status", "requested_at", "finished_at")
