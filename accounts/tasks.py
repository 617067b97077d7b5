"""The relay, run by beat."""

from celery import shared_task

from accounts import outbox


@shared_task(name="accounts.relay_outbox")
def relay_outbox() -> None:
    """Publish what the fast path did not."""
    outbox.relay()
