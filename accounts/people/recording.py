"""What people do with their own accounts, as django-allauth tells it, in the audit log."""

from typing import Any

from allauth.account import signals as account
from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa
from django.contrib.auth.signals import user_logged_in, user_logged_out

from accounts import audit
from accounts.callers import memberships_of
from accounts.models import User
from accounts.tenancy import acting_for

_ACTIONS = {
    user_logged_in: "login.succeeded",
    user_logged_out: "logout",
    mfa.authentication_failed: "login.failed",
    account.password_changed: "password.changed",
    account.password_reset: "password.reset",
    account.password_set: "password.set",
    account.email_added: "email.added",
    account.email_removed: "email.removed",
    account.email_confirmed: "email.confirmed",
    account.email_changed: "email.changed",
    mfa.authenticator_added: "second_factor.added",
    mfa.authenticator_removed: "second_factor.removed",
    mfa.authenticator_reset: "second_factor.reset",
}


def listen() -> None:
    """Have allauth's signals recorded."""
    for signal, action in _ACTIONS.items():
        signal.connect(_on, dispatch_uid=f"audit {action} {id(signal)}")


def _on(
    signal: Any,
    request: Any = None,
    user: User | None = None,
    email_address: EmailAddress | None = None,
    **_: Any,
) -> None:
    if user is None and isinstance(email_address, EmailAddress):
        user = email_address.user
    if request is None or user is None:  # a test that logs somebody in; a session that was nobody's
        return
    with audit.acting_as(audit.person_actor(request, user)):
        record_of_person(user, _ACTIONS[signal])


def record_of_person(user: User, action: str) -> None:
    """Record what concerns a person in the log of each tenant that they are a member of, and what
    concerns an operator in ours. Of people who belong to nobody nothing is kept.
    """
    for membership in memberships_of(user.pk):
        with acting_for(membership.tenant_id):
            audit.record(membership.tenant_id, action, user.email)
    if user.is_operator:
        audit.record(None, action, user.email)
