"""The operators' console: Django's admin, for people with a second factor alone."""

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from allauth.account.authentication import get_authentication_records
from allauth.mfa.utils import is_mfa_enabled
from csp.decorators import csp_replace
from django import forms
from django.conf import settings
from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import audit
from accounts.console_names import NAMES
from accounts.identifiers import is_id
from accounts.models import UsedNonce

# As our own pages have it, but for what the theme cannot do without: its scripts are written into
# attributes (Alpine.js evaluates them), and it sets styles on elements.
_POLICY = {
    "DIRECTIVES": settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    | {
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
    }
}


_LONGEST = timedelta(hours=12)  # a day's work; then the second factor is asked for again


def used_second_factor(request: HttpRequest) -> bool:
    """Whether this session was begun today with a second factor that its person still has."""
    since = time.time() - _LONGEST.total_seconds()
    records = get_authentication_records(request, request.user)
    recent = any(one.get("method") == "mfa" and one.get("at", 0) > since for one in records)
    return recent and is_mfa_enabled(request.user)


def _translate_names(model: type[Model]) -> None:
    """Have the names that Django makes of a model's fields translated, as written in NAMES."""
    for named in (model._meta, *model._meta.fields):
        if named.verbose_name in NAMES:
            named.verbose_name = gettext_lazy(str(named.verbose_name))
    if model._meta.verbose_name_plural in NAMES:
        model._meta.verbose_name_plural = gettext_lazy(str(model._meta.verbose_name_plural))


_OPENED, _MOST_OPENED = "console_opened", 10
_ASK_AGAIN = {"overview", "usage-of-tenant"}  # parts of pages that ask for themselves


def _note(request: HttpRequest) -> None:
    """Record what an operator opens or changes; once, of a page that goes on asking for itself."""
    if request.resolver_match.url_name == "jsi18n":
        return  # the theme's own words
    opens, path = request.method in ("GET", "HEAD"), request.get_full_path()
    asks_again = opens and request.resolver_match.url_name in _ASK_AGAIN and "as" not in request.GET
    opened: list[str] = request.session.get(_OPENED, [])
    if asks_again and request.htmx and path in opened:
        return
    audit.record(None, f"console.{'opened' if opens else 'changed'}", path)
    if asks_again and path not in opened:
        request.session[_OPENED] = [*opened, path][-_MOST_OPENED:]


class Console(UnfoldAdminSite):
    index_title = gettext_lazy("How it is now")

    def register(
        self, model_or_iterable: Any, admin_class: type[Any] | None = None, **options: Any
    ) -> None:
        """Ours alone: by what libraries register, operators could write second factors and groups."""
        if admin_class is not None and issubclass(admin_class, RowsToLookAt):
            super().register(model_or_iterable, admin_class, **options)
            several = isinstance(model_or_iterable, tuple)
            for model in model_or_iterable if several else [model_or_iterable]:
                _translate_names(model)

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        operates = user.is_authenticated and user.is_active and user.is_operator
        return bool(operates and used_second_factor(request))

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        inner = super().admin_view(view, cacheable)

        @csp_replace(_POLICY["DIRECTIVES"])
        def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request):
                audit.act_as(audit.person_actor(request, request.user))
                _note(request)
            return inner(request, *args, **kwargs)

        return shown

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """By our own page, which asks for the second factor; without one, to where it is set up."""
        user = request.user
        if not user.is_authenticated:
            query = urlencode({"next": reverse("admin:index")})
            return redirect(f"{reverse('account_login')}?{query}")
        if self.has_permission(request):
            return redirect("admin:index")
        return render(request, "pages/no_operator.html", status=403)


class _Shallow(Paginator):
    """The first rows of a list alone: counting a million of them takes longer than showing a page."""

    deepest = 10_000

    @cached_property
    def count(self) -> int:
        rows: QuerySet = self.object_list
        return rows.order_by()[: self.deepest].count()


class RowsToLookAt(ModelAdmin):
    """Rows that are shown and not written, the newest first. Lists go some thousands deep; what lies deeper
    is found by searching and filtering.
    """

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = _Shallow
    list_per_page, list_max_show_all = 30, 0
    ordering = ["-pk"]
    # What is searched for by an id: its column, by what such ids begin with. Looking for it in all columns
    # at once would find no index.
    ids: ClassVar[Mapping[str, str]] = {}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if is_id(term) and (column := self.ids.get(term[:3])):
            return queryset.filter(**{column: term}), False
        found: tuple[QuerySet, bool] = super().get_search_results(request, queryset, term)
        return found

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False


class ReasonForm(forms.Form):
    """Asks for what audit.stated_reason takes."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("The customer reads it."),
    )


class OnceForm(forms.Form):
    """A form of which sending the same one twice, as by a double click, does once what it does."""

    token = forms.CharField(
        max_length=128, widget=forms.HiddenInput, initial=lambda: secrets.token_hex(16)
    )

    def is_first(self, request: HttpRequest, tenant_id: str) -> bool:
        """Whether it is sent for the first time. In the transaction of what it does."""
        try:
            with transaction.atomic():
                UsedNonce.objects.create(
                    tenant_id=tenant_id,
                    api_key_id=request.user.pk,
                    nonce=self.cleaned_data["token"],
                )
        except IntegrityError:
            return False
        return True


def find_or_404(rows: QuerySet, row_id: str) -> Any:
    """The row with this id. Raises Http404, also for what PostgreSQL would not look for."""
    return get_object_or_404(rows, pk=row_id.replace("\0", ""))


def form_page(
    shown_by: ModelAdmin, request: HttpRequest, title: str, form: forms.Form
) -> HttpResponseBase:
    """A page of the console that asks for what a form has, under the name of what it will do."""
    context = shown_by.admin_site.each_context(request) | {"title": title, "form": form}
    return render(request, "admin/form.html", context)
