"""What must leave the database: written with its cause, published at least once, in order per
subject, by one relay.

Tasks may be published twice and files deleted twice; both do no harm, because tasks look at rows
and a missing file is already deleted.
"""

import smtplib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from celery import current_app
from django.core.files.storage import default_storage
from django.core.mail import BadHeaderError, EmailMessage
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.models import OutboxMessage, TenantOwned
from accounts.stored_files import delete_below
from voicereel_site.metrics import OUTBOX
from voicereel_site.request_log import carried

log = structlog.get_logger(__name__)

_BATCH = 200  # messages of a kind taken in one round
# Whoever publishes a message holds it so long; should they die, it falls due again.
_HOLD = timedelta(seconds=30)
_FIRST_WAIT = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(minutes=10)
_GIVE_UP_AFTER = timedelta(days=1)


def ask_for_task(name: str, row: TenantOwned, *, after: timedelta = timedelta()) -> None:
    """Have a Celery task look at a row once this transaction commits, and ``after`` has passed.

    name: as registered; row: its tenant's id and its own are the arguments, and its own is the
    subject whose messages keep their order.
    """
    message = OutboxMessage.objects.create(
        kind=OutboxMessage.Kind.TASK,
        tenant_id=row.tenant_id,
        subject=row.pk,
        payload={"task": name, "origin": carried()},
        due_at=timezone.now() + after,
    )
    if not after:
        # The fast path: publish as soon as the cause is committed. Should this process die in
        # between, the relay's next round finds the row.
        transaction.on_commit(lambda: _publish_one(message.pk), robust=True)


def ask_again_for_task(name: str, rows: Iterable[TenantOwned]) -> None:
    """Have a task look at rows, unless a message that asks for it has yet to leave."""
    by_id = {row.pk: row for row in rows}
    waiting = OutboxMessage.objects.filter(
        kind=OutboxMessage.Kind.TASK, subject__in=by_id, payload__task=name, given_up_at=None
    )
    asked = set(waiting.values_list("subject", flat=True))
    for row_id, row in by_id.items():
        if row_id not in asked:
            ask_for_task(name, row)


def ask_to_delete_files(tenant_id: str, path: str, *, after: timedelta = timedelta()) -> None:
    """Have the file at ``path`` of the audio storage, or all below it, deleted after this commits.

    Left to the relay: an object store may take seconds, and no request shall wait for it.
    """
    OutboxMessage.objects.create(
        kind=OutboxMessage.Kind.DELETE_FILES,
        tenant_id=tenant_id,
        subject=path,
        due_at=timezone.now() + after,
    )


def ask_to_send(
    tenant_id: str,
    address: str,
    subject: str,
    text: str,
    attachments: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Have a mail sent after this commits (accounts.mail).

    attachments: their names, keys in the storage, and media types. Left to the relay: a mail server may
    take seconds.
    """
    OutboxMessage.objects.create(
        kind=OutboxMessage.Kind.MAIL,
        tenant_id=tenant_id,
        subject=address,
        payload={
            "subject": subject,
            "text": text,
            "attachments": [list(one) for one in attachments],
        },
        due_at=timezone.now(),
    )


def relay() -> int:
    """Publish what is due. Returns how many messages went out."""
    now = timezone.now()
    due = OutboxMessage.objects.filter(given_up_at=None, due_at__lte=now)
    turn = due.exclude(Exists(_earlier(OuterRef("subject"), OuterRef("pk"), now))).order_by("pk")
    published = 0
    for kind in sorted(set(due.values_list("kind", flat=True))):
        for pk in turn.filter(kind=kind).values_list("pk", flat=True)[:_BATCH]:
            went_out = _publish_one(pk)
            published += went_out is True
            if went_out is False:
                # When the broker or the storage is away, one message finds out, and not each of
                # them, one timeout after another, while the other kind waits.
                break
    return published


def _earlier(subject: str | OuterRef, pk: int | OuterRef, now: datetime) -> QuerySet[OutboxMessage]:
    """What must leave before a message. One written for later joins in when its time has come."""
    waiting = OutboxMessage.objects.filter(subject=subject, given_up_at=None, pk__lt=pk)
    return waiting.exclude(attempts=0, due_at__gt=now)


def queue_length(queue: str) -> int:
    """How many messages wait for a worker. Raises when the broker does not answer."""
    with current_app.pool.acquire(block=True, timeout=3) as broker:
        broker.ensure_connection(max_retries=1, timeout=3)
        return int(broker.default_channel.queue_declare(queue).message_count)


def requeue(message: OutboxMessage) -> None:
    """Give a dead letter another day."""
    now = timezone.now()
    OutboxMessage.objects.filter(pk=message.pk).update(
        given_up_at=None, due_at=now, created_at=now, attempts=0
    )


def _publish_one(pk: int) -> bool | None:
    """Publish a message and forget it. On failure it stays, due later and later.

    Returns whether it went out; None if it is not its turn, somebody else has it, or nobody will ever
    take it.
    """
    now = timezone.now()
    message = OutboxMessage.objects.filter(pk=pk, given_up_at=None, due_at__lte=now).first()
    if message is None:
        return None
    if _earlier(message.subject, pk, now).exists():
        return None
    # Taking the message is a conditional update, so two relays do not publish it at the same time.
    taken = OutboxMessage.objects.filter(pk=pk, due_at=message.due_at).update(
        due_at=now + _HOLD, attempts=min(message.attempts + 1, 30_000)
    )
    if not taken:
        return None
    try:
        _publish(message)
    except Exception as exc:
        hopeless = _is_hopeless(exc)
        OUTBOX.labels(message.kind, "failed").inc()
        _keep_for_later(message, exc, hopeless=hopeless)
        return None if hopeless else False
    OutboxMessage.objects.filter(pk=pk).delete()
    OUTBOX.labels(message.kind, "published").inc()
    return True


def _is_hopeless(exc: Exception) -> bool:
    """Whether it is the message, a mail, that is at fault, and not whoever should take it."""
    match exc:
        case smtplib.SMTPRecipientsRefused():
            return all(code >= 500 for code, _ in exc.recipients.values())
        case smtplib.SMTPDataError():
            return exc.smtp_code >= 500
    return isinstance(exc, (UnicodeError, BadHeaderError))


def _keep_for_later(message: OutboxMessage, exc: Exception, *, hopeless: bool) -> None:
    now = timezone.now()
    dead = hopeless or now - message.created_at > _GIVE_UP_AFTER
    OutboxMessage.objects.filter(pk=message.pk).update(
        due_at=now + min(_FIRST_WAIT * 2 ** min(message.attempts, 20), _LONGEST_WAIT),
        last_error=f"{type(exc).__name__}: {exc}"[:500],
        given_up_at=now if dead else None,
    )
    report = log.error if dead else log.warning
    report(
        "outbox.given_up" if dead else "outbox.publish_failed",
        message_id=message.pk,
        kind=message.kind,
        subject="" if message.kind == OutboxMessage.Kind.MAIL else message.subject,
        error=type(exc).__name__,
    )


def _publish(message: OutboxMessage) -> None:
    if message.kind == OutboxMessage.Kind.TASK:
        publish_task(
            message.payload["task"],
            message.tenant_id,
            message.subject,
            message.payload.get("origin", {}),
        )
    elif message.kind == OutboxMessage.Kind.DELETE_FILES:
        _refuse_foreign(message, message.subject)
        delete_below(message.subject)
    elif message.kind == OutboxMessage.Kind.MAIL:
        mail = EmailMessage(
            message.payload["subject"], message.payload["text"], to=[message.subject]
        )
        for name, key, media_type in message.payload.get("attachments", []):
            _refuse_foreign(message, key)
            with default_storage.open(key, "rb") as file:
                mail.attach(name, file.read(), media_type)
        mail.send()
    else:
        # Written by newer code than this: it waits for a relay that knows it.
        raise ValueError(f"unknown kind of message: {message.kind}")


def _refuse_foreign(message: OutboxMessage, path: str) -> None:
    """The relay's role may do what the app's may not: what it is asked to do is looked at."""
    if not path.startswith(f"t/{message.tenant_id}/"):
        raise ValueError("the files are another tenant's")


def publish_task(task: str, tenant_id: str, subject: str, origin: Mapping[str, str]) -> None:
    """Send a task's message to its queue, once: whoever has it sent keeps a row that says so."""
    current_app.send_task(
        task, args=[tenant_id, subject], queue=queue_of(task), headers=dict(origin), retry=False
    )


def queue_of(task: str) -> str:
    """The name of the queue that a task's messages go to."""
    routes = current_app.conf.task_routes
    default = {"queue": current_app.conf.task_default_queue}
    return str(routes.get(task, default)["queue"])
