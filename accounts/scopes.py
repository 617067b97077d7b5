"""Who may do what: the one list of permissions, which routes ask for, keys hold, and roles stand for."""

from collections.abc import Collection, Iterable

from django.db.models import TextChoices


class Scope(TextChoices):
    """``thing:read`` shows; ``thing:write`` makes, changes and deletes."""

    SPEAKERS_READ = "speakers:read"
    SPEAKERS_WRITE = "speakers:write"
    SPEAKERS_ERASE = "speakers:erase"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    PRONUNCIATIONS_READ = "pronunciations:read"
    PRONUNCIATIONS_WRITE = "pronunciations:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    AUDIT_READ = "audit:read"
    USAGE_READ = "usage:read"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    ACCOUNT_EXPORT = "account:export"
    ACCOUNT_ERASE = "account:erase"


EVERYTHING = "*"  # what comes later too


class Role(TextChoices):
    """What a member is to a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    BILLING = "billing"
    VIEWER = "viewer"


_CONTENT_READ = (Scope.SPEAKERS_READ, Scope.JOBS_READ, Scope.PRONUNCIATIONS_READ)

# The permission table: what each role may do, in the words of keys.
ROLE_SCOPES: dict[str, tuple[str, ...]] = {
    Role.OWNER: tuple(Scope.values),
    Role.ADMIN: tuple(scope for scope in Scope.values if scope != Scope.ACCOUNT_ERASE),
    Role.DEVELOPER: (
        *_CONTENT_READ,
        Scope.SPEAKERS_WRITE,
        Scope.JOBS_WRITE,
        Scope.PRONUNCIATIONS_WRITE,
        Scope.WEBHOOKS_READ,
        Scope.WEBHOOKS_WRITE,
        Scope.KEYS_READ,
        Scope.KEYS_WRITE,
        Scope.MEMBERS_READ,
        Scope.USAGE_READ,
    ),
    Role.BILLING: (
        Scope.MEMBERS_READ,
        Scope.USAGE_READ,
        Scope.BILLING_READ,
        Scope.BILLING_WRITE,
    ),
    Role.VIEWER: (*_CONTENT_READ, Scope.MEMBERS_READ),
}

# Of people, and of everything at once: nothing that a test key should reach.
LIVE_ALONE = frozenset(
    {
        Scope.MEMBERS_WRITE,
        Scope.BILLING_WRITE,
        Scope.SPEAKERS_ERASE,
        Scope.ACCOUNT_EXPORT,
        Scope.ACCOUNT_ERASE,
    }
)

# What an operator may do in a member's place, if the member may: look; and, where that was asked for,
# mend, which deletes a job or a speaker too. Never what outlives the impersonation (keys, members,
# addresses that are told of events), what hands all data out, or what ends the account.
IMPERSONATED_READS = frozenset(scope for scope in Scope.values if scope.endswith(":read"))
IMPERSONATED_WRITES = IMPERSONATED_READS | {
    Scope.SPEAKERS_WRITE,
    Scope.JOBS_WRITE,
    Scope.PRONUNCIATIONS_WRITE,
}


def everything() -> list[str]:
    """The scopes of a key of which nothing was said."""
    return [EVERYTHING]


def holds(scopes: Collection[str], scope: str) -> bool:
    """Whether a key with these scopes may do what asks for ``scope``."""
    return EVERYTHING in scopes or scope in scopes


def beyond(scopes: Collection[str], wanted: Iterable[str]) -> list[str]:
    """Those of the wanted scopes that a key with ``scopes`` does not hold itself."""
    return sorted(scope for scope in wanted if not holds(scopes, scope))
