"""The audit log: who did what, when and from where, written in the transaction of what was done.

Whoever acts is known to the thread, as the tenant is (accounts.tenancy): authentication says so once,
and what is done records it without being told. The database refuses to change or delete a row
(accounts.row_security.AppendOnly).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from accounts.models import ApiKey, AuditEvent, Impersonation, User
from accounts.networks import client_address
from voicereel_site.errors import FieldError, Refusal
from voicereel_site.request_log import current_request_id

_SHORTEST_REASON = 10  # characters


@dataclass(frozen=True)
class Actor:
    """Who acts. name: as people know them; in_place_of: whom an operator impersonates."""

    kind: str
    id: str = ""
    name: str = ""
    address: str | None = None
    in_place_of: str = ""


_NOBODY = Actor(AuditEvent.Actor.SYSTEM)
# Or what says who it is, when it is asked: most requests record nothing.
_actor: ContextVar[Actor | Callable[[], Actor]] = ContextVar("actor", default=_NOBODY)


class AuditMiddleware:
    """A request is nobody's until its key or its member is known."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = _actor.set(_NOBODY)
        try:
            return self.get_response(request)
        finally:
            _actor.reset(token)


def act_as(actor: Actor | Callable[[], Actor]) -> None:
    """Act as somebody until the request ends. actor: or what says who, should it be asked."""
    _actor.set(actor)


@contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Act as somebody in this block."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> Actor:
    actor = _actor.get()
    return actor if isinstance(actor, Actor) else actor()


def _address(request: HttpRequest) -> str | None:
    address = client_address(request)
    return None if address is None else str(address)


def key_actor(request: HttpRequest, key: ApiKey) -> Actor:
    return Actor(AuditEvent.Actor.KEY, key.pk, key.label or key.prefix, _address(request))


def person_actor(
    request: HttpRequest, user: User, impersonation: Impersonation | None = None
) -> Actor:
    """A person at a browser: a member, or an operator, maybe in a member's place."""
    operates = user.is_operator
    return Actor(
        AuditEvent.Actor.OPERATOR if operates else AuditEvent.Actor.MEMBER,
        user.pk,
        user.email,
        _address(request),
        "" if impersonation is None else impersonation.membership.user.email,
    )


def command_actor(name: str) -> Actor:
    """Whoever has a shell of ours; name: of the command."""
    return Actor(AuditEvent.Actor.OPERATOR, name=f"manage.py {name}")


def stated_reason(reason: str) -> str:
    """Why an operator opens what is a customer's, without the space around it.

    Raises validation_error where it says nothing.
    """
    if len(reason.strip()) < _SHORTEST_REASON:
        detail = _("Say why, in a few words: the customer will read it.")
        raise Refusal("validation_error", detail, errors=[FieldError("/reason", detail)])
    return reason.strip()


def record(tenant_id: str | None, action: str, target: str = "", **details: Any) -> None:
    """Add an event to a tenant's log; None: to ours.

    action: what it was done to, and what, such as ``key.created``; target: its id; details: of JSON,
    and no secrets.
    """
    actor = current_actor()
    AuditEvent.objects.create(
        tenant_id=tenant_id,
        action=action,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        in_place_of=actor.in_place_of,
        target=target.replace("\0", "")[:300],  # which PostgreSQL stores in no text
        details=details,
        address=actor.address,
        request_id=current_request_id() or "",
    )
