"""For whom this thread works: whose rows PostgreSQL shows it, and whose it lets it write.

Every query goes through ``.for_tenant``. Row-level security stands behind that: its policies compare a
row's tenant with the setting ``voicereel.tenant_id``, and where that is not set the app's role sees
nothing. Each statement brings the setting along, in the same round trip, and it ends with the
statement's transaction: a connection knows no tenant when it is used again. SQLite has no such thing;
there nothing is sent.

A person's own memberships are shown by a second setting, ``voicereel.user_id``, before it is known for
which tenant they come.

Operators' processes act for no tenant in particular; their role has a policy of its own.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, NotSupportedError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponseBase

from accounts.identifiers import is_id
from voicereel_site.log_context import add_to_log_context, log_context, logged_with

log = structlog.get_logger(__name__)

SETTING, USER_SETTING = "voicereel.tenant_id", "voicereel.user_id"
# Whose the messages of the outbox are that are no tenant's, such as mail to a person who signs up.
NO_TENANT = "ten_" + "0" * 26

# The statement that goes before each other one; None: the process is an operator's.
_leading: ContextVar[str | None] = ContextVar("leading_statement", default=None)
_FOR_NOBODY = f"SET LOCAL {SETTING} = '';"
CONSOLE_PATH = "/admin/"  # of the operators
# In a transaction that has failed, nothing but its end may be sent.
_OF_TRANSACTIONS = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")


def _for_tenant(tenant_id: str) -> str:
    if not is_id(tenant_id):
        raise ValueError(f"not a tenant's id: {tenant_id!r}")
    return f"SET LOCAL {SETTING} = '{tenant_id}';"


def act_for(tenant_id: str) -> None:
    """Act for a tenant until the request ends. What is logged says so."""
    _leading.set(_for_tenant(tenant_id))
    add_to_log_context(tenant_id=tenant_id)


def acting_tenant() -> str | None:
    """Whom this thread acts for, or None: an operator's, or nobody."""
    return log_context().get("tenant_id")


@contextmanager
def acting_for(tenant_id: str) -> Iterator[None]:
    """Act for a tenant in this block; threads that it starts do not. What is logged says so."""
    token = _leading.set(_for_tenant(tenant_id))
    try:
        with logged_with(tenant_id=tenant_id):
            yield
    finally:
        _leading.reset(token)


@contextmanager
def operating_for(tenant_id: str) -> Iterator[None]:
    """Do what an operator's process does about a tenant, with its own role: what is logged says whose."""
    with logged_with(tenant_id=tenant_id):
        yield


@contextmanager
def acting_for_member(user_id: str) -> Iterator[None]:
    """See a person's memberships, of all tenants, with the tenants' names; and nothing else."""
    if not is_id(user_id):
        raise ValueError(f"not a person's id: {user_id!r}")
    token = _leading.set(f"{_FOR_NOBODY} SET LOCAL {USER_SETTING} = '{user_id}';")
    try:
        yield
    finally:
        _leading.reset(token)


@contextmanager
def acting_for_owner_of_key(public_id: str) -> Iterator[None]:
    """Act for whoever has the API key with this public id, without knowing who that is yet.

    The one way to a tenant's row before the tenant is known: accounts_tenant_of_key (migration 0005)
    tells the database's own session the owner, and nobody else.
    """
    if not public_id.isalnum():
        raise ValueError(f"not a key's public id: {public_id!r}")
    token = _leading.set(
        f"SELECT set_config('{SETTING}', coalesce(accounts_tenant_of_key('{public_id}'), ''), true);"
    )
    try:
        yield
    finally:
        _leading.reset(token)


def leading_statement() -> str:
    """What goes before a statement that is sent around Django's cursor; "" in an operator's process."""
    leading = _leading.get()
    return "" if leading is None else f"{leading} "


def is_bound() -> bool:
    """Whether this thread acts for a tenant, or for nobody; False: it is an operator's."""
    return _leading.get() is not None


class TenantMiddleware:
    """A request acts for nobody until its key, its link or its member is known; the console is
    operators'.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        console = settings.CONSOLE and request.path.startswith(CONSOLE_PATH)
        token = _leading.set(None if console else _FOR_NOBODY)
        try:
            return self.get_response(request)
        finally:
            _leading.reset(token)


def warn_unless_protected() -> None:
    """Say so in the log if this process's database login sees all tenants' rows, whoever it acts for.

    For web processes and workers as they start. A database that does not answer is not asked again.
    """
    if connection.vendor != "postgresql":
        return
    with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls OR coalesce(pg_has_role(current_user, "
            "to_regrole('voicereel_operator')::oid, 'USAGE'), false) "
            "FROM pg_roles WHERE rolname = current_user"
        )
        if cursor.fetchone()[0]:
            log.warning(
                "database.unprotected",
                detail="This process's database login is a superuser's or an operator's, so row-level "
                "security does not hold for it. Give web processes and workers one in voicereel_app: "
                "docker/postgres/roles.sql.",
            )
    connection.close()


def carry_tenant(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Have a new connection's statements bring their tenant along. A receiver of connection_created."""
    if connection.vendor == "postgresql" and _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


def _execute(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    leading = _leading.get()
    if leading is None or sql.startswith(_OF_TRANSACTIONS):
        return execute(sql, params, many, context)
    used, raw = context["connection"], context["cursor"].cursor
    if getattr(raw, "name", None) is None:
        return execute(f"{leading} {sql}", params, many, context)
    # A server-side cursor takes one statement alone, and lives as long as its transaction.
    if not used.in_atomic_block:
        if leading == _FOR_NOBODY:  # what a connection is by itself
            return execute(sql, params, many, context)
        raise NotSupportedError("Rows of a tenant are streamed inside a transaction alone.")
    with used.connection.cursor() as own:
        own.execute(leading)
    return execute(sql, params, many, context)
