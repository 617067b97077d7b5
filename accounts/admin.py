"""Tenants, people and the audit log in the operators' console. Rows are looked at, and changed by what
the domain functions do alone.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin

from accounts.callers import enter
from accounts.impersonation import LONGEST, start_impersonation
from accounts.models import (
    AuditEvent,
    DataExport,
    Erasure,
    Impersonation,
    Membership,
    Tenant,
    User,
)
from accounts.privacy.erasures import begin_tenant_erasure
from accounts.privacy.exports import request_export
from voicereel_site.errors import Refusal

_MINUTES = 30


class _ToLookAt(ModelAdmin):
    """Rows that are shown and not written."""

    show_full_result_count = False
    ordering = ["-pk"]

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False


class _EraseForm(forms.Form):
    confirm = forms.CharField(label="Its id, to confirm")


class _ImpersonateForm(forms.Form):
    reason = forms.CharField(max_length=300, help_text="The customer reads it in their audit log.")
    minutes = forms.IntegerField(
        initial=_MINUTES, min_value=1, max_value=int(LONGEST.total_seconds() // 60)
    )
    may_write = forms.BooleanField(
        required=False, label="May change speakers, jobs and pronunciations"
    )


@admin.register(Tenant)
class TenantAdmin(_ToLookAt):
    list_display = ["name", "id", "plan", "region", "created_at"]
    list_filter = ["plan", "region"]
    search_fields = ["id", "name"]
    change_form_template = "admin/tenant.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<str:tenant_id>/export", view(self.export), name="export-tenant"),
            path("<str:tenant_id>/erase", view(self.erase), name="erase-tenant"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Have a tenant's archive made, which its people can fetch."""
        tenant = get_object_or_404(Tenant, pk=tenant_id)
        if request.method != "POST":
            return _form(self, request, f"Export all data of {tenant.name}", forms.Form())
        try:
            with transaction.atomic():
                row = request_export(tenant)
            messages.success(request, f"{row.pk} is being made.")
        except Refusal as refusal:
            messages.error(request, refusal.detail)
        return redirect("admin:accounts_tenant_change", tenant_id)

    def erase(self, request: HttpRequest, tenant_id: str) -> HttpResponseBase:
        """Erase a tenant for good, once its id was typed."""
        tenant = get_object_or_404(Tenant, pk=tenant_id)
        form = _EraseForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["confirm"] == tenant.pk:
                with transaction.atomic():
                    row = begin_tenant_erasure(tenant.pk, requested_by=request.user.pk)
                messages.success(request, f"{tenant.name} is being erased: {row.pk}.")
                return redirect("admin:accounts_erasure_change", row.pk)
            form.add_error("confirm", "This is another id.")
        return _form(self, request, f"Erase {tenant.name} for good", form)


@admin.register(Membership)
class MembershipAdmin(_ToLookAt):
    list_display = ["user", "tenant", "role", "joined_at"]
    list_filter = ["role"]
    list_select_related = ["user", "tenant"]
    search_fields = ["user__email", "tenant__name", "tenant__id"]
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
        membership = get_object_or_404(rows, pk=membership_id)
        form = _ImpersonateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                row = start_impersonation(request.user, membership, **form.cleaned_data)
            except Refusal as refusal:
                form.add_error(None, refusal.detail)
            else:
                enter(request, row)
                return redirect("home")
        title = f"Impersonate {membership.user} of {membership.tenant}"
        return _form(self, request, title, form)


def _form(
    shown_by: ModelAdmin, request: HttpRequest, title: str, form: forms.Form
) -> HttpResponseBase:
    context = shown_by.admin_site.each_context(request) | {"title": title, "form": form}
    return render(request, "admin/form.html", context)


@admin.register(User)
class UserAdmin(_ToLookAt):
    list_display = ["email", "name", "operator", "is_active", "last_login"]
    list_select_related = ["operator"]
    search_fields = ["email", "name"]
    exclude = ["password"]


@admin.register(AuditEvent)
class AuditEventAdmin(_ToLookAt):
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
    search_fields = ["=tenant__id", "=action", "=target", "=actor_name"]


def _look_at(model: type[models.Model], *columns: str) -> None:
    admin.site.register(
        model, type(f"{model.__name__}Admin", (_ToLookAt,), {"list_display": columns})
    )


_look_at(
    Impersonation, "operator", "membership", "may_write", "started_at", "expires_at", "ended_at"
)
_look_at(DataExport, "id", "tenant", "status", "archive_bytes", "created_at", "finished_at")
_look_at(Erasure, "id", "tenant_id", "speaker_id", "status", "requested_at", "finished_at")
