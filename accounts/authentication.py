"""Bearer key, or a browser's session -> ``request.auth`` (accounts.callers), whose tenant every query
goes through.
"""

import copy
from functools import partial
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import audit
from accounts.callers import Caller, Member, member_of
from accounts.keys import find_key, home_of, note_use
from accounts.known_keys import known_keys, known_of
from accounts.limits import count_request
from accounts.models import ApiKey, User
from accounts.networks import client_address, is_within
from accounts.scopes import LIVE_ALONE, holds
from accounts.signatures import check_signature
from accounts.suspension import refuse_suspended
from accounts.tenancy import act_for
from voicereel_site.errors import Refusal
from voicereel_site.metrics import KEY_FAILURES


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer vr_live_...``"""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        sent = request._request
        header = sent.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, __, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed(_("Send the key as `Authorization: Bearer vr_live_...`."))
        row = _row_of(sent, key.strip())
        refuse_suspended(row.tenant)
        act_for(row.tenant_id)
        audit.act_as(partial(audit.key_actor, sent, row))
        check_signature(sent, row)
        note_use(row)
        return None, row

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="voicereel"'


def _row_of(request: HttpRequest, key: str) -> ApiKey:
    """The row of a key that may be used from here, now; takes a token for it.

    Raises AuthenticationFailed, wrong_region, insufficient_scope or rate_limited.
    """
    known = known_of(request, key)
    row = _find(key) if known is None else known.row
    _refuse_other_networks(request, row)
    limit = count_request(request, row.tenant)
    if known is not None:
        if limit.version != known.version or not limit.version or row.is_dead(timezone.now()):
            row = _find(key)
        elif known.version:
            return row
    # Read before the version was, the row is no use to another request: only whose it is.
    known_keys.put(key, row, "" if known is None else limit.version)
    return row


def _find(key: str) -> ApiKey:
    row = find_key(key)
    if row is None:
        known_keys.forget(key)
        if (home := home_of(key)) is not None:
            raise Refusal(
                "wrong_region",
                _(
                    "This key is one of the region %(region)s. Send the request to %(address)s, where the "
                    "account's data is."
                )
                % dict(zip(("region", "address"), home, strict=True)),
                421,
            )
        KEY_FAILURES.inc()
        raise AuthenticationFailed(
            _(
                "This API key is unknown, mistyped, expired or revoked. Check that it was copied "
                "whole."
            )
        )
    return row


class MemberAuthentication(BaseAuthentication):
    """The session of a person at a browser, for the tenant that they are looking at."""

    def authenticate(self, request: Request) -> tuple[User, Member] | None:
        member = member_of(request._request)
        if member is None:
            return None
        _refuse_forgery(request)
        user = request._request.user
        audit.act_as(audit.person_actor(request._request, user, member.impersonation))
        count_request(request._request, member.tenant)
        if member.impersonation is None:
            refuse_suspended(member.tenant)
        return user, member


def _refuse_forgery(request: Request) -> None:
    """Another site's page can have a browser send its cookie, and cannot read our token."""
    # The token is looked for in the header alone: the body is the view's to read.
    bare = copy.copy(request._request)
    bare._post, bare._files = QueryDict(), MultiValueDict()
    check = CSRFCheck(lambda request: None)
    check.process_request(bare)
    reason = check.process_view(bare, None, (), {})
    if reason:
        raise Refusal(
            "insufficient_scope",
            _(
                "A request with a browser's session needs its token in X-CSRFToken. Load the page "
                "again."
            ),
            403,
        )


def _refuse_other_networks(request: HttpRequest, row: ApiKey) -> None:
    if not row.networks:
        return
    address = client_address(request)
    if not is_within(address, row.networks):
        raise Refusal(
            "insufficient_scope",
            _("This key may not be used from %(address)s, but only from %(networks)s.")
            % {
                "address": address or _("an unknown address"),
                "networks": ", ".join(row.networks),
            },
            403,
        )


class HasScope(BasePermission):
    """Every route needs a caller, and the caller the scope that the view names for the method."""

    message = gettext_lazy("Send an API key as `Authorization: Bearer vr_live_...`.")

    def has_permission(self, request: Request, view: Any) -> bool:
        caller: Caller | None = request.auth
        if caller is None:
            return False
        asked = request._request.method
        method = "GET" if asked == "HEAD" else asked
        # OPTIONS describes the route; what the view has no method for is a 405 anyway.
        if method == "OPTIONS" or not hasattr(view, str(method).lower()):
            return True
        require_scope(caller, view.scopes[method])
        if isinstance(caller, Member) and caller.impersonation is not None:
            note_impersonated(request._request, caller)
        return True


def require_scope(caller: Caller, scope: str) -> None:
    """Raises insufficient_scope."""
    if not caller.live and scope in LIVE_ALONE:
        detail = _(
            "%(caller)s is a test key, which cannot do what asks for %(scope)s. Use a live one."
        )
        detail %= {"caller": caller.called, "scope": scope}
        raise Refusal("insufficient_scope", detail, 403)
    if not holds(caller.scopes, scope):
        if isinstance(caller, ApiKey):
            detail = _(
                "%(caller)s lacks the scope %(scope)s. It holds: %(held)s. Use a key that has it."
            )
        else:
            detail = _(
                "%(caller)s lacks the scope %(scope)s. It holds: %(held)s. Ask an owner for it."
            )
        held = ", ".join(caller.scopes) or _("none")
        detail %= {"caller": caller.called, "scope": scope, "held": held}
        raise Refusal("insufficient_scope", detail, 403)


def note_impersonated(request: HttpRequest, member: Member) -> None:
    """Record what an operator does in a member's place: every request, whatever else records it."""
    action = "content.opened" if request.method in ("GET", "HEAD") else "content.changed"
    audit.record(member.tenant.pk, action, request.path, method=request.method)


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Names the scheme in the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "vr_live_... or vr_test_..."}
