"""What must leave the database: written with its cause, published at least once by one relay.

Tasks may be published twice and files deleted twice; both do no harm, because tasks look at rows
and a missing file is already deleted.
"""

from datetime import timedelta
from typing import Any

import structlog
from celery import current_app
from django.db import transaction
from django.utils import timezone

from accounts.models import OutboxMessage
from accounts.stored_files import delete_folder

log = structlog.get_logger(__name__)

_BATCH = 100  # messages taken in one round
_LONGEST_WAIT = timedelta(minutes=10)


def ask_for_task(name: str, *arguments: Any) -> None:
    """Have a Celery task run after this transaction commits. ``name``: the registered name."""
    _add(OutboxMessage.Kind.TASK, name, list(arguments))


def ask_to_delete_files(folder: str) -> None:
    """Have every file below ``folder`` of the audio storage deleted after this commits."""
    _add(OutboxMessage.Kind.DELETE_FILES, folder, [])


def _add(kind: str, subject: str, payload: list[Any]) -> None:
    message = OutboxMessage.objects.create(
        kind=kind, subject=subject, payload=payload, due_at=timezone.now()
    )
    # The fast path: publish as soon as the cause is committed. Should this process die in
    # between, the relay's next round finds the row.
    transaction.on_commit(lambda: _publish_one(message.pk), robust=True)


def relay() -> int:
    """Publish what is due. Returns how many messages went out."""
    due = OutboxMessage.objects.filter(due_at__lte=timezone.now()).order_by("pk")
    return sum(_publish_one(pk) for pk in due.values_list("pk", flat=True)[:_BATCH])


def _publish_one(pk: int) -> bool:
    """Publish a message and forget it. On failure it stays, due later and later."""
    # Taking the message is a conditional update, so two relays do not publish it at the same
    # time; if this one dies now, the message falls due again.
    now = timezone.now()
    message = OutboxMessage.objects.filter(pk=pk, due_at__lte=now).first()
    if message is None:
        return False
    wait = min(timedelta(seconds=5) * 2**message.attempts, _LONGEST_WAIT)
    taken = OutboxMessage.objects.filter(pk=pk, due_at=message.due_at).update(
        due_at=now + wait, attempts=min(message.attempts + 1, 30)
    )
    if not taken:
        return False
    try:
        _publish(message)
    except Exception as exc:
        log.warning("outbox.publish_failed", kind=message.kind, error=type(exc).__name__)
        OutboxMessage.objects.filter(pk=pk).update(last_error=str(exc)[:500])
        return False
    OutboxMessage.objects.filter(pk=pk).delete()
    return True


def _publish(message: OutboxMessage) -> None:
    if message.kind == OutboxMessage.Kind.TASK:
        current_app.send_task(
            message.subject,
            args=message.payload,
            queue=_queue_of(message.subject),
            retry=False,  # the outbox is the retry
        )
    elif message.kind == OutboxMessage.Kind.DELETE_FILES:
        delete_folder(message.subject)
    else:
        # Written by newer code than this: it waits for a relay that knows it.
        raise ValueError(f"unknown kind of message: {message.kind}")


def _queue_of(task: str) -> str:
    routes = current_app.conf.task_routes
    default = {"queue": current_app.conf.task_default_queue}
    return str(routes.get(task, default)["queue"])
