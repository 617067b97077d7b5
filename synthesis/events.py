"""Telling customers' systems what became of a job."""

from typing import Any

from accounts.models import mode_name
from accounts.webhooks.events import Event, tell
from synthesis.models import Job

_EVENTS = {
    Job.Status.SUCCEEDED: Event.JOB_SUCCEEDED,
    Job.Status.FAILED: Event.JOB_FAILED,
    Job.Status.CANCELED: Event.JOB_CANCELED,
}


def tell_of_job(job: Job, status: str) -> None:
    """That a job has just come to this status, its last. Inside the transaction that brought it there."""

    def data() -> dict[str, Any]:
        row = Job.objects.for_tenant(job.tenant_id).get(pk=job.pk)
        return {
            "id": row.pk,
            "mode": mode_name(row.live),
            "title": row.title,
            "status": row.status,
            "progress": {"lines_done": row.lines_done, "lines_total": row.lines_total},
            "error": {
                "code": row.error_code,
                "detail": row.error_detail,
                "line_id": row.error_line_id or None,
            }
            if row.error_code
            else None,
            "audio_ms": row.audio_ms,
            "metadata": row.metadata,
        }

    tell(job.tenant_id, _EVENTS[status], data)
