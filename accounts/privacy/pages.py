"""The page of an owner who wants all data, or wants all of it gone."""

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import audit
from accounts.limits import note_change
from accounts.models import LONGEST_RETENTION_HOURS, DataExport, Erasure, Tenant
from accounts.people.pages import page
from accounts.privacy.erasures import proof_path, request_tenant_erasure
from accounts.privacy.exports import archive_link, request_export
from accounts.scopes import Scope, holds
from voicereel_site.errors import Refusal

FOREVER = "forever"
_DAYS_OFFERED = (1, 7, 30, 90, 365)


class _Erase(forms.Form):
    confirm = forms.CharField(max_length=40, label=gettext_lazy("The account's id, to confirm"))


@page("GET", scope=Scope.ACCOUNT_EXPORT)
def privacy(request: HttpRequest) -> HttpResponseBase:
    return _privacy(request, _Erase())


def _privacy(request: HttpRequest, form: _Erase, status: int = 200) -> HttpResponse:
    tenant = request.member.tenant
    exports = list(DataExport.objects.for_tenant(tenant).order_by("-pk")[:10])
    erasures = Erasure.objects.for_tenant(tenant).order_by("-pk")[:10]
    context = {
        "exports": [
            (row, archive_link(row, request.build_absolute_uri) if row.archive_key else "")
            for row in exports
        ],
        "erasures": [(row, proof_path(row)) for row in erasures],
        "form": form,
        "hours": tenant.retention_hours,
        # None: for ever; 0: no whole number of days, as the API may have set it.
        "days": _whole_days(tenant.retention_hours),
        "days_offered": _DAYS_OFFERED,
        "may_erase": holds(request.member.scopes, Scope.ACCOUNT_ERASE),
    }
    return render(request, "pages/privacy.html", context, status=status)


def _whole_days(hours: int | None) -> int | None:
    if hours is None:
        return None
    return 0 if hours % 24 else hours // 24


@page("POST", scope=Scope.ACCOUNT_ERASE)
def retention(request: HttpRequest) -> HttpResponseBase:
    """How long finished jobs are kept, from the next one on. As what ends data, it is the owner's."""
    days = request.POST.get("days", "")
    if days == FOREVER:
        hours = None
    elif (
        len(days) < 6
        and days.isascii()
        and days.isdecimal()
        and 1 <= int(days) <= LONGEST_RETENTION_HOURS // 24
    ):
        hours = int(days) * 24
    else:
        detail = _("Keep jobs for 1 to %(most)s days, or for ever.")
        shown = {"most": LONGEST_RETENTION_HOURS // 24}
        raise Refusal("validation_error", detail % shown)
    tenant = request.member.tenant
    with transaction.atomic():
        Tenant.objects.filter(pk=tenant.pk).update(retention_hours=hours)
        audit.record(tenant.pk, "account.retention_changed", tenant.pk, hours=hours)
        note_change(tenant.pk)
    messages.success(request, _("Jobs are kept so from the next one on."))
    return redirect("privacy")


@page("POST", scope=Scope.ACCOUNT_EXPORT)
def export(request: HttpRequest) -> HttpResponseBase:
    try:
        with transaction.atomic():
            request_export(request.member.tenant)
    except Refusal as refusal:
        messages.error(request, refusal.detail)
    return redirect("privacy")


@page("POST", scope=Scope.ACCOUNT_ERASE)
def erase(request: HttpRequest) -> HttpResponseBase:
    """Erase the whole account, once its id was typed."""
    form = _Erase(request.POST)
    if form.is_valid():
        try:
            with transaction.atomic():
                row = request_tenant_erasure(request.member, form.cleaned_data["confirm"])
        except Refusal as refusal:
            form.add_error("confirm", refusal.detail)
        else:
            context = {"proof_url": request.build_absolute_uri(proof_path(row))}
            return render(request, "pages/erasing.html", context)
    return _privacy(request, form, status=422)
