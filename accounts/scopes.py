"""What a key may do: the one list of permissions, which routes ask for and keys hold."""

from collections.abc import Collection, Iterable

from django.db.models import TextChoices


class Scope(TextChoices):
    """``thing:read`` shows; ``thing:write`` makes, changes and deletes."""

    SPEAKERS_READ = "speakers:read"
    SPEAKERS_WRITE = "speakers:write"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    PRONUNCIATIONS_READ = "pronunciations:read"
    PRONUNCIATIONS_WRITE = "pronunciations:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"


EVERYTHING = "*"  # what comes later too


def everything() -> list[str]:
    """The scopes of a key of which nothing was said."""
    return [EVERYTHING]


def holds(scopes: Collection[str], scope: str) -> bool:
    """Whether a key with these scopes may do what asks for ``scope``."""
    return EVERYTHING in scopes or scope in scopes


def beyond(scopes: Collection[str], wanted: Iterable[str]) -> list[str]:
    """Those of the wanted scopes that a key with ``scopes`` does not hold itself."""
    return sorted(scope for scope in wanted if not holds(scopes, scope))
