"""API keys: ``vr_live_<8 characters of public id>_<43 secret><6 of checksum>``. Where the service is one of
several regions, the public id begins with the region's two letters (voicereel_site.regions).

The shape follows GitHub's tokens (github.blog, 2021-04-05): a prefix that scanners find, and a
CRC-32 that tells a mistyped or invented key without asking the database. A secret of 256 random
bits needs no slow hash: an HMAC under a pepper that is not in the database is enough.
"""

import base64
import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.callers import Caller
from accounts.encryption import encrypt
from accounts.limits import note_change
from accounts.lookup import find_row
from accounts.models import ApiKey, Tenant, mode_name
from accounts.networks import wider
from accounts.prepared import prepared
from accounts.scopes import EVERYTHING, beyond
from accounts.signatures import SECRET_BYTES
from accounts.tenancy import acting_for_owner_of_key
from voicereel_site.errors import FieldError, Refusal
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_PATTERN = re.compile(r"vr_(live|test)_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_REGION_LETTERS = 2
_USE_NOTED_EVERY = timedelta(minutes=1)


class NewKey(NamedTuple):
    """A key that was made just now."""

    row: ApiKey
    key: str
    signing_secret: str | None  # in base64; None where no signatures are required


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    """CRC-32 of everything before it, as six base-62 digits."""
    number = zlib.crc32(body.encode())
    digits = ""
    for __ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _digest(key: str) -> str:
    return hmac.new(settings.API_KEY_PEPPER.encode(), key.encode(), hashlib.sha256).hexdigest()


def issue_key(
    tenant: Tenant,
    *,
    label: str = "",
    live: bool = True,
    scopes: Sequence[str] = (EVERYTHING,),
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
    require_signature: bool = False,
) -> NewKey:
    """Make a key. It and its signing secret, if it requires signatures, are in the answer alone."""
    public_id = settings.REGION + _random(8 - len(settings.REGION))
    body = f"vr_{mode_name(live)}_{public_id}_{_random(43)}"
    key = body + _checksum(body)
    row = ApiKey(
        tenant=tenant,
        public_id=public_id,
        digest=_digest(key),
        label=label,
        live=live,
        scopes=list(scopes),
        expires_at=expires_at,
        networks=list(networks),
        require_signature=require_signature,
    )
    secret = None
    if require_signature:
        secret = secrets.token_bytes(SECRET_BYTES)
        row.signing_secret = encrypt(secret, row.pk)
    row.save(force_insert=True)
    return NewKey(row, key, None if secret is None else base64.b64encode(secret).decode())


def create_key(
    asking: Caller,
    *,
    label: str,
    live: bool,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
    networks: Sequence[str] | None,
    require_signature: bool,
) -> NewKey:
    """Make a key for the tenant of whoever asks, with no more power than they have.

    scopes, networks: None is those of who asks; expires_at: None is when that one ends. Inside a
    transaction. Raises insufficient_scope, or validation_error for an end that has passed.
    """
    if expires_at is not None and expires_at <= timezone.now():
        detail = _("This moment has passed. Give one in the future, or none.")
        raise Refusal("validation_error", detail, errors=[FieldError("/expires_at", detail)])
    wanted = asking.scopes if scopes is None else sorted(set(scopes))
    ends = asking.expires_at if expires_at is None else expires_at
    places = asking.networks if networks is None else networks
    _refuse_more_power(asking, live, wanted, ends, places)
    new = issue_key(
        asking.tenant,
        label=label,
        live=live,
        scopes=wanted,
        expires_at=ends,
        networks=places,
        require_signature=require_signature,
    )
    audit.record(asking.tenant.pk, "key.created", new.row.pk, label=label, scopes=wanted)
    return new


def _refuse_more_power(
    asking: Caller,
    live: bool,
    scopes: Sequence[str],
    expires_at: datetime | None,
    networks: Sequence[str],
) -> None:
    """What a key could not do itself, it can have no other key do."""
    detail = ""
    if lacking := beyond(asking.scopes, scopes):
        detail = _("%(caller)s does not hold %(scopes)s itself, and cannot give it away.")
        detail %= {"caller": asking.called, "scopes": ", ".join(lacking)}
    elif live and not asking.live:
        detail = _("A test key cannot make or rotate a live key. Use a live one.")
    elif asking.expires_at is not None and (expires_at is None or expires_at > asking.expires_at):
        detail = _("This key expires at %(moment)s; it can make or rotate no key that outlives it.")
        detail %= {"moment": f"{asking.expires_at:%Y-%m-%dT%H:%M:%SZ}"}
    elif beyond_own := wider(asking.networks, networks):
        detail = _(
            "This key may be used from %(own)s alone; it can make or rotate no key for %(asked)s."
        )
        detail %= {"own": ", ".join(asking.networks), "asked": ", ".join(map(_, beyond_own))}
    if detail:
        raise Refusal("insufficient_scope", detail, 403)


def rotate_key(asking: Caller, row: ApiKey, overlap: timedelta) -> NewKey:
    """Make a key that takes the place of another, which goes on working for ``overlap``.

    Raises validation_error (409) if it is dead or was rotated before, insufficient_scope if it has
    more power than the key that asks.
    """
    _refuse_more_power(asking, row.live, row.scopes, row.expires_at, row.networks)
    now = timezone.now()
    if row.is_dead(now):
        raise Refusal("validation_error", _("This key works no more. Create a new one."), 409)
    with transaction.atomic():
        note_change(row.tenant_id)
        new = issue_key(
            row.tenant,
            label=row.label,
            live=row.live,
            scopes=row.scopes,
            expires_at=row.expires_at,
            networks=row.networks,
            require_signature=row.require_signature,
        )
        ends = now + overlap if row.expires_at is None else min(row.expires_at, now + overlap)
        replaced = (
            ApiKey.objects.for_tenant(row.tenant)
            .filter(pk=row.pk, replaced_by_id="", revoked_at=None)
            .update(replaced_by_id=new.row.pk, expires_at=ends)
        )
        if not replaced:
            detail = _(
                "This key was rotated or revoked already. GET it for the key that replaced it."
            )
            raise Refusal("validation_error", detail, 409)
        audit.record(row.tenant_id, "key.rotated", row.pk, replaced_by=new.row.pk)
    return new


def revoke_key(row: ApiKey) -> ApiKey:
    """End a key, for all processes from the next request on.

    Returns it as it is now; the moment of an earlier revocation stands.
    """
    with transaction.atomic():
        note_change(row.tenant_id)
        working = ApiKey.objects.for_tenant(row.tenant).filter(pk=row.pk, revoked_at=None)
        if working.update(revoked_at=timezone.now()):
            audit.record(row.tenant_id, "key.revoked", row.pk, label=row.label)
    row.refresh_from_db()
    return row


def get_key(tenant: Tenant, key_id: str) -> ApiKey:
    """This tenant's key, dead or alive. Raises not_found."""
    return find_row(ApiKey.objects.for_tenant(tenant), key_id, "key")


def find_key(key: str) -> ApiKey | None:
    """The row of a key that is whole, known, and neither revoked nor expired."""
    match = KEY_PATTERN.fullmatch(key)
    if match is None or not _is_whole(key):
        return None
    row = _row_of(match)
    return None if row is None or row.is_dead(timezone.now()) else row


def home_of(key: str) -> tuple[str, str] | None:
    """The region that a key which is none of ours says it is of, and its address, if there is one."""
    match = KEY_PATTERN.fullmatch(key)
    if match is None or not _is_whole(key):
        return None
    region = match.group(2)[:_REGION_LETTERS]
    address = settings.REGIONS.get(region) if region != settings.REGION else None
    return None if address is None else (region, address)


def keys_in(text: str) -> Iterator[ApiKey]:
    """The rows of the keys of ours that stand in a text, such as a leak: dead or alive, each once."""
    seen = set()
    for match in KEY_PATTERN.finditer(text):
        if match.group() not in seen and _is_whole(match.group()):
            seen.add(match.group())
            if row := _row_of(match):
                yield row


def _is_whole(key: str) -> bool:
    return hmac.compare_digest(_checksum(key[:-6]), key[-6:])


def _row_of(match: re.Match[str]) -> ApiKey | None:
    # Before the tenant is known there is nothing to scope by: the public id is unique over all.
    with acting_for_owner_of_key(match.group(2)):
        row = next(iter(_key(match.group(2))), None)
    if row is None or not hmac.compare_digest(row.digest, _digest(match.group())):
        return None
    return row


@prepared
def _key(public_id: str) -> "QuerySet[ApiKey]":
    return ApiKey.objects.select_related("tenant").filter(public_id=public_id)


def note_use(row: ApiKey) -> None:
    """Write down that a key was used, at most once a minute: most requests write nothing."""
    now = timezone.now()
    before = now - _USE_NOTED_EVERY
    if row.last_used_at is not None and row.last_used_at > before:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=before)
    try:
        ApiKey.objects.for_tenant(row.tenant).filter(stale, pk=row.pk).update(last_used_at=now)
        row.last_used_at = now
    except Exception as exc:
        if outage_of(exc) is None:
            raise
        # A full disk, say: what the request itself needs may still be there.
        log.warning("key.use_not_noted", error=type(exc).__name__)
