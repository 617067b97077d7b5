"""The page of an owner who wants all data, or wants all of it gone."""

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render

from accounts.models import DataExport, Erasure
from accounts.people.pages import page
from accounts.privacy.erasures import proof_path, request_tenant_erasure
from accounts.privacy.exports import archive_link, request_export
from accounts.scopes import Scope, holds
from voicereel_site.errors import Refusal


class _Erase(forms.Form):
    confirm = forms.CharField(max_length=40, label="The account's id, to confirm")


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
        "may_erase": holds(request.member.scopes, Scope.ACCOUNT_ERASE),
    }
    return render(request, "pages/privacy.html", context, status=status)


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
