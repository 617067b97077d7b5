"""The operators' console: Django's admin, for people with a second factor alone."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.utils import is_mfa_enabled
from csp.decorators import csp_replace
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from unfold.sites import UnfoldAdminSite

from accounts import audit

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


class Console(UnfoldAdminSite):
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
                kind = "opened" if request.method in ("GET", "HEAD") else "changed"
                audit.record(None, f"console.{kind}", request.get_full_path())
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
