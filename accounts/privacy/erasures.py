"""Erasing a tenant for good: every row, file and log line, and the people who belong to nobody else.

What is left is the proof: an Erasure, which counts what went and names nobody. It is done twice, a minute
apart: a worker in the middle of a tenant's job writes a file or a log line after its rows are gone.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import timedelta

import structlog
from django.contrib.sessions.models import Session
from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit, limits, log_file
from accounts.callers import Caller
from accounts.lookup import find_row
from accounts.mail import send_mail
from accounts.models import (
    ApiKey,
    AuditEvent,
    Erasure,
    Invitation,
    Membership,
    OutboxMessage,
    Tenant,
    User,
)
from accounts.outbox import ask_again_for_task, ask_for_task
from accounts.people.members import addresses_of
from accounts.privacy.rows import kind_of, models_of_tenants, rows_of
from accounts.scopes import Role
from accounts.stored_files import delete_below, file_bytes, walk
from accounts.tenancy import NO_TENANT, acting_for
from voicereel_site.errors import FieldError, Refusal, not_found

log = structlog.get_logger(__name__)

ERASE_TENANT, ERASE_SPEAKER = "accounts.erase_tenant", "synthesis.erase_speaker"
# Twice the lease of a job: its worker has noticed by then.
QUIET = timedelta(minutes=1)
_LOST_AFTER = timedelta(minutes=5)
_ROWS_AT_A_TIME = 2_000
_SALT = "voicereel.erasure"


def request_tenant_erasure(caller: Caller, confirmed: str) -> Erasure:
    """Begin to erase the caller's tenant: from the next request on nobody is let in. In a transaction.

    confirmed: the tenant's id, as whoever asks has typed it. Raises validation_error.
    """
    tenant = caller.tenant
    if confirmed != tenant.pk:
        detail = _("Erasing cannot be undone. To confirm, send this account's id: %(id)s.")
        detail %= {"id": tenant.pk}
        raise Refusal("validation_error", detail, errors=[FieldError("/confirm", detail)])
    return begin_tenant_erasure(tenant.pk, requested_by=caller.pk)


def begin_tenant_erasure(tenant_id: str, *, requested_by: str) -> Erasure:
    """Shut a tenant out and ask for its erasure. In a transaction.

    The people of the tenant are remembered until then: those who belong to no other tenant go too.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    members = Membership.objects.for_tenant(tenant_id)
    row = Erasure.objects.create(
        tenant_id=tenant_id,
        requested_by=requested_by,
        recipients=addresses_of(tenant_id, Role.OWNER),
        pending=sorted(members.values_list("user_id", flat=True)),
    )
    audit.record(tenant_id, "erasure.requested", row.pk)
    if audit.current_actor().kind == AuditEvent.Actor.OPERATOR:
        audit.record(None, "erasure.requested", row.pk)  # the tenant's own log goes with it
    limits.note_change(tenant_id)
    ApiKey.objects.for_tenant(tenant_id).filter(revoked_at=None).update(revoked_at=timezone.now())
    members.delete()
    Invitation.objects.for_tenant(tenant_id).delete()
    ask_for_task(ERASE_TENANT, row)
    return row


def get_erasure(tenant: Tenant, erasure_id: str) -> Erasure:
    """This tenant's erasure. Raises not_found."""
    rows = Erasure.objects.for_tenant(tenant)
    found: Erasure = find_row(rows, erasure_id, "erasure")
    return found


def proof_path(row: Erasure) -> str:
    """Where the proof is shown to whoever has this link, also when no key and no member is left."""
    token = signing.Signer(salt=_SALT).sign_object([row.tenant_id, row.pk])
    return reverse("erasure-proof", args=[token])


def open_proof(token: str) -> Erasure:
    """The erasure behind a link to its proof. Raises not_found."""
    try:
        tenant_id, erasure_id = signing.Signer(salt=_SALT).unsign_object(token)
    except (signing.BadSignature, ValueError) as exc:
        raise not_found("erasure") from exc
    # No longer than that: a line of the log with the tenant's id would outlive its erasure.
    with acting_for(tenant_id):
        rows = Erasure.objects.for_tenant(tenant_id)
        found: Erasure = find_row(rows, erasure_id, "erasure")
    return found


def erase_tenant(erasure_id: str) -> None:
    """Erase what is left of a tenant, as an operator. The second time, a while later, it is proved."""
    rows = Erasure.objects.filter(pk=erasure_id, speaker_id="").exclude(
        status=Erasure.Status.ERASED
    )
    rows.filter(status=Erasure.Status.REQUESTED).update(status=Erasure.Status.ERASING)
    erasure = rows.first()
    if erasure is None:
        return
    with transaction.atomic():
        members = Membership.objects.for_tenant(erasure.tenant_id)
        people = {*erasure.pending, *members.values_list("user_id", flat=True)}
        counts = _erase_rows(erasure)
        counts["person"] += _erase_people(people, erasure.tenant_id)
        note_erased(erasure, counts, people)
    count_files(erasure, [f"t/{erasure.tenant_id}"])
    erasure.log_lines += log_file.erase_lines(erasure.tenant_id)
    erasure.save(update_fields=["log_lines"])
    limits.forget(erasure.tenant_id)
    go_on(erasure, ERASE_TENANT)


def note_erased(erasure: Erasure, counts: Counter[str], pending: Iterable[str]) -> None:
    """Add what went to an erasure, in the transaction in which it went; the first sets its clock."""
    erasure.rows = dict(Counter(erasure.rows) + counts)
    erasure.pending = sorted(pending)
    erasure.save(update_fields=["rows", "pending"])
    Erasure.objects.filter(pk=erasure.pk, started_at=None).update(started_at=timezone.now())


def count_files(erasure: Erasure, folders: Iterable[str]) -> None:
    """Delete every file of some folders of the storage, and add them to an erasure."""
    for folder in folders:
        found = [file_bytes(file.key) for file in walk(f"{folder}/")]
        delete_below(folder, for_good=True)
        erasure.files, erasure.bytes = erasure.files + len(found), erasure.bytes + sum(found)
    erasure.save(update_fields=["files", "bytes"])


def go_on(erasure: Erasure, task: str) -> None:
    """Once more when it is quiet; or, if it was quiet before this time, prove it."""
    erasure.refresh_from_db(fields=["started_at"])
    assert erasure.started_at is not None
    quiet_at = erasure.started_at + QUIET
    if timezone.now() < quiet_at:
        ask_for_task(task, erasure, after=quiet_at - timezone.now())
    else:
        prove(erasure)


def _erase_rows(erasure: Erasure) -> Counter[str]:
    """Delete every row of a tenant's. Returns how many of each kind went."""
    counts: Counter[str] = Counter()
    for model in models_of_tenants():
        rows = rows_of(model, erasure.tenant_id)
        if model is OutboxMessage:
            rows = rows.exclude(subject=erasure.pk)  # what asks for this
        # Some at a time: a statement has an end.
        while batch := list(rows.values_list("pk", flat=True)[:_ROWS_AT_A_TIME]):
            _, by_model = model._default_manager.filter(pk__in=batch).delete()
            counts[kind_of(model)] += by_model.get(model._meta.label, 0)
    counts["tenant"] += Tenant.objects.filter(pk=erasure.tenant_id).delete()[0]
    return +counts


def _erase_people(user_ids: Collection[str], tenant_id: str) -> int:
    """Delete those people who are members of no tenant any more, with their sessions and mail."""
    # Held, or they could join another tenant in between.
    held = User.objects.select_for_update().filter(pk__in=user_ids)
    candidates = list(held.values_list("pk", flat=True))
    gone = User.objects.filter(pk__in=candidates, operator=None, memberships=None)
    named = [name for pair in gone.values_list("pk", "email") for name in pair]
    if not named:
        return 0
    # Those of before they logged in, such as of a reset, name them too.
    naming = [
        session.pk
        for session in Session.objects.iterator()
        if any(name in json.dumps(session.get_decoded()) for name in named)
    ]
    Session.objects.filter(pk__in=naming).delete()
    # Another tenant's invitation to them is that tenant's.
    mails = OutboxMessage.objects.filter(kind=OutboxMessage.Kind.MAIL)
    mails.filter(subject__in=named, tenant_id__in=[NO_TENANT, tenant_id]).delete()
    _, by_model = gone.delete()
    return by_model.get(User._meta.label, 0)


def prove(erasure: Erasure) -> None:
    """Write the proof down, and tell those who wanted to know."""
    with transaction.atomic():
        recipients = erasure.recipients
        erasure.status, erasure.finished_at = Erasure.Status.ERASED, timezone.now()
        erasure.recipients, erasure.pending = [], []
        erasure.save(update_fields=["status", "finished_at", "recipients", "pending"])
        if recipients:
            send_mail(recipients, "erasure", erasure=erasure)
    log.info("erasure.finished", erasure_id=erasure.pk)


def sweep_erasures() -> None:
    """Ask again for erasures that nobody finished: their message or their worker was lost."""
    lost = timezone.now() - _LOST_AFTER
    waiting = Erasure.objects.filter(
        Q(started_at__lt=lost) | Q(started_at=None, requested_at__lt=lost)
    ).exclude(status=Erasure.Status.ERASED)
    ask_again_for_task(ERASE_TENANT, waiting.filter(speaker_id=""))
    ask_again_for_task(ERASE_SPEAKER, waiting.exclude(speaker_id=""))
