"""For whom this thread works: whose rows PostgreSQL shows it, and whose it lets it write.

Every query goes through ``.for_tenant``. Row-level security stands behind that: its policies compare a
row's tenant with the setting ``voicereel.tenant_id``, and where that is not set the app's role sees
nothing. Each statement brings the setting along, in the same round trip, and it ends with the
statement's transaction: a connection knows no tenant when it is used again. SQLite has no such thing;
there nothing is sent.

Operators' processes act for no tenant in particular; their role has a policy of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponseBase

from accounts.identifiers import is_id

SETTING = "voicereel.tenant_id"

# The statement that goes before each other one; None: the process is an operator's.
_leading: ContextVar[str | None] = ContextVar("leading_statement", default=None)
_FOR_NOBODY = f"SET LOCAL {SETTING} = '';"
# In a transaction that has failed, nothing but its end may be sent.
_OF_TRANSACTIONS = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")


def _for_tenant(tenant_id: str) -> str:
    if not is_id(tenant_id):
        raise ValueError(f"not a tenant's id: {tenant_id!r}")
    return f"SET LOCAL {SETTING} = '{tenant_id}';"


def act_for(tenant_id: str) -> None:
    """Act for a tenant until the request ends."""
    _leading.set(_for_tenant(tenant_id))


@contextmanager
def acting_for(tenant_id: str) -> Iterator[None]:
    """Act for a tenant in this block; threads that it starts do not."""
    token = _leading.set(_for_tenant(tenant_id))
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
    assert public_id.isalnum()
    token = _leading.set(
        f"SELECT set_config('{SETTING}', coalesce(accounts_tenant_of_key('{public_id}'), ''), true);"
    )
    try:
        yield
    finally:
        _leading.reset(token)


def is_bound() -> bool:
    """Whether this thread acts for a tenant, or for nobody; False: it is an operator's."""
    return _leading.get() is not None


class TenantMiddleware:
    """A request acts for nobody until its key or its link is known."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = _leading.set(_FOR_NOBODY)
        try:
            return self.get_response(request)
        finally:
            _leading.reset(token)


def carry_tenant(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Have a new connection's statements bring their tenant along."""
    if connection.vendor == "postgresql" and _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


def _execute(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    leading = _leading.get()
    if leading is not None and not sql.startswith(_OF_TRANSACTIONS):
        sql = f"{leading} {sql}"
    return execute(sql, params, many, context)
