"""Telling customers' systems what became of a speaker."""

from typing import Any

from accounts.webhooks.events import Event, tell
from speakers.models import Speaker

_EVENTS = {
    Speaker.Status.READY: Event.SPEAKER_READY,
    Speaker.Status.FAILED: Event.SPEAKER_FAILED,
}


def tell_of_speaker(speaker: Speaker, status: str) -> None:
    """That a speaker has just become ready or failed. Inside the transaction that made it so."""

    def data() -> dict[str, Any]:
        rows = Speaker.objects.for_tenant(speaker.tenant_id).defer("voice_data")
        row = rows.get(pk=speaker.pk)
        return {
            "id": row.pk,
            "name": row.name,
            "status": row.status,
            "voice_mode": row.voice_mode or None,
            "failure_reasons": row.failure_reasons,
            "metadata": row.metadata,
        }

    tell(speaker.tenant_id, _EVENTS[status], data)
