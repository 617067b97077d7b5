"""The web side of a job: is it allowed, and then it is stored."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.lookup import find_row
from accounts.models import ApiKey, Tenant
from speakers.lookup import speakers_by_id
from speakers.models import Speaker
from synthesis.admission import admit_job
from synthesis.captions import KINDS
from synthesis.engines import engine_for
from synthesis.engines.base import SpeechEngine
from synthesis.events import tell_of_job
from synthesis.formats import OutputChoice, choose_output
from synthesis.models import Job, JobQuerySet, Line
from synthesis.storage import erase_files
from synthesis.wakeups import ask_to_render
from synthesis.words import language_of
from voicereel_site.errors import FieldError, Refusal

log = structlog.get_logger(__name__)

_ERASED_AT_A_TIME = 1000
LONGEST_SCRIPT_CHARACTERS = 200_000
# JSON numbers are exact to 2^53 in every language.
LARGEST_SEED = 2**53 - 1

_REFUSALS = {
    "speaker_not_found": "The script names speakers that do not exist.",
    "speaker_not_ready": "The script names speakers that are not ready.",
    "language_not_supported": "The script has lines that this engine cannot speak.",
}


def submit_job(api_key: ApiKey, request: Mapping[str, Any]) -> Job:
    """Check a well-formed request and store it as a queued job. Inside a transaction.

    request: what SynthesizeRequest validated. All errors of the script are raised at once, each
    with its line; the code is that of the first.
    """
    script: Sequence[Mapping[str, Any]] = request["script"]
    output, errors = choose_output(
        **{"format": None, "sample_rate": None, "bitrate_kbps": None, "bit_depth": None}
        | request.get("output", {})
    )
    errors = [*errors, *_script_errors(script)]
    tenant = api_key.tenant
    speakers = speakers_by_id(tenant, (line["speaker_id"] for line in script))
    languages = [
        line.get("language") or language_of(line["text"], _language(speakers, line))
        for line in script
    ]
    engine = engine_for(live=api_key.live)
    errors += _speaker_errors(script, speakers, engine.name if api_key.live else None)
    errors += _language_errors(script, languages, engine)
    if errors or output is None:
        raise _refusal(errors)
    admit_job(tenant.pk, len(script), live=api_key.live)
    notices = {engine.notice(language) for language in languages} - {None}
    return _store(api_key, request, output, speakers, languages, sorted(map(str, notices)))


def _language(speakers: Mapping[str, Speaker], line: Mapping[str, Any]) -> str:
    speaker = speakers.get(line["speaker_id"])
    return speaker.language if speaker else "en"


def _line_id(line: Mapping[str, Any], index: int) -> str:
    return line.get("id") or str(index + 1)


def _script_errors(script: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    errors = []
    total = sum(len(line["text"]) for line in script)
    if total > LONGEST_SCRIPT_CHARACTERS:
        detail = (
            f"The script has {total:,} characters; {LONGEST_SCRIPT_CHARACTERS:,} are allowed. "
            "Split it into several jobs."
        )
        errors.append(FieldError("/script", detail))
    seen: set[str] = set()
    for index, line in enumerate(script):
        line_id = _line_id(line, index)
        if line_id in seen:
            detail = f"Another line has the id {line_id}. Give each its own, or leave ids out."
            errors.append(FieldError(f"/script/{index}/id", detail, line_id))
        seen.add(line_id)
    return errors


def _speaker_errors(
    script: Sequence[Mapping[str, Any]], speakers: Mapping[str, Speaker], engine: str | None
) -> list[FieldError]:
    """engine: whose voices are needed; None: any will do, as for a test job."""
    errors = []
    for index, line in enumerate(script):
        speaker = speakers.get(line["speaker_id"])
        if speaker is None:
            code, detail = (
                "speaker_not_found",
                (f"There is no speaker {line['speaker_id']}. GET /v1/speakers lists yours."),
            )
        elif speaker.status == Speaker.Status.PROCESSING:
            code, detail = (
                "speaker_not_ready",
                (f"Speaker {speaker.name} is still being analysed. Wait until it is ready."),
            )
        elif speaker.status == Speaker.Status.FAILED:
            code, detail = (
                "speaker_not_ready",
                (
                    f"Speaker {speaker.name} failed its analysis; GET /v1/speakers/{speaker.pk} says "
                    "why. Register it again with a better recording."
                ),
            )
        elif engine is not None and speaker.voice_engine != engine:
            code, detail = (
                "speaker_not_ready",
                (
                    f"Speaker {speaker.name} was prepared for the engine {speaker.voice_engine}, and "
                    f"{engine} runs now. Register it again."
                ),
            )
        else:
            continue
        pointer = f"/script/{index}/speaker_id"
        errors.append(FieldError(pointer, detail, _line_id(line, index), code))
    return errors


def _language_errors(
    script: Sequence[Mapping[str, Any]], languages: Sequence[str], engine: SpeechEngine
) -> list[FieldError]:
    return [
        FieldError(
            f"/script/{index}/language" if line.get("language") else f"/script/{index}/text",
            detail,
            _line_id(line, index),
            "language_not_supported",
        )
        for index, (line, language) in enumerate(zip(script, languages, strict=True))
        if (detail := engine.refusal(line["text"], language))
    ]


def _refusal(errors: Sequence[FieldError]) -> Refusal:
    code = errors[0].code or "validation_error"
    more = f" {len(errors) - 1} more below." if len(errors) > 1 else ""
    summary = _REFUSALS.get(code)
    detail = f"{summary} {errors[0].detail}{more}" if summary else f"{errors[0].detail}{more}"
    return Refusal(code, detail, errors=errors)


def _store(
    api_key: ApiKey,
    request: Mapping[str, Any],
    output: OutputChoice,
    speakers: Mapping[str, Speaker],
    languages: Sequence[str],
    notices: Sequence[str],
) -> Job:
    script = request["script"]
    seed = request.get("seed")
    job = Job.objects.create(
        tenant=api_key.tenant,
        api_key_id=api_key.pk,
        live=api_key.live,
        title=request.get("title", ""),
        output=asdict(output),
        captions=sorted(set(request.get("captions", KINDS)), key=KINDS.index),
        seed=secrets.randbelow(2**31) if seed is None else seed,
        metadata=request.get("metadata", {}),
        notices=notices,
        lines_total=len(script),
        retention_hours=request.get("retention_hours", api_key.tenant.retention_hours),
    )
    Line.objects.bulk_create(
        Line(
            tenant=api_key.tenant,
            job=job,
            position=index,
            line_id=_line_id(line, index),
            speaker=speakers[line["speaker_id"]],
            text=line["text"],
            language=languages[index],
            speed=line.get("speed", 1.0),
            pause_after_ms=line.get("pause_after_ms"),
        )
        for index, line in enumerate(script)
    )
    ask_to_render(job)
    log.info("job.submitted", job_id=job.pk, lines=len(script))
    return job


def get_job(tenant: Tenant, job_id: str) -> Job:
    """This tenant's job. Raises not_found."""
    return find_row(Job.objects.for_tenant(tenant), job_id, "job")


def _row_of(job: Job) -> JobQuerySet:
    return Job.objects.for_tenant(job.tenant_id).filter(pk=job.pk)


def cancel_job(job: Job) -> Job:
    """Stop a job that has not finished. Lines that are spoken are kept for a retry."""
    now = timezone.now()
    running = _row_of(job).filter(status__in=[Job.Status.QUEUED, Job.Status.PROCESSING])
    with transaction.atomic():
        canceled = running.update(
            status=Job.Status.CANCELED,
            finished_at=now,
            expires_at=job.expiry(now),
            lease_expires_at=None,
        )
        if canceled:
            tell_of_job(job, Job.Status.CANCELED)
    job.refresh_from_db()
    if not canceled and job.status != Job.Status.CANCELED:
        raise Refusal(
            "validation_error", f"The job has {job.status} and cannot be canceled any more.", 409
        )
    return job


def retry_job(job: Job) -> Job:
    """Queue a failed or canceled job again; only what is missing will be spoken.

    Raises system_busy or too_many_concurrent_jobs, or validation_error (409) if it is neither.
    """
    with transaction.atomic():
        if _stopped(job).exists():
            admit_job(job.tenant_id, job.lines_total - job.lines_done, live=job.live)
        return requeue_job(job)


def _stopped(job: Job) -> JobQuerySet:
    return _row_of(job).filter(status__in=[Job.Status.FAILED, Job.Status.CANCELED])


def requeue_job(job: Job) -> Job:
    """As retry_job, beyond any limit: for operators, of jobs that failed through no fault of their
    owners.
    """
    with transaction.atomic():
        queued = _stopped(job).update(
            status=Job.Status.QUEUED,
            error_code="",
            error_detail="",
            error_line_id="",
            finished_at=None,
            expires_at=None,
            fruitless_attempts=0,
            nudged_at=timezone.now(),
        )
        if queued:
            ask_to_render(job)
    job.refresh_from_db()
    if not queued:
        raise Refusal(
            "validation_error",
            f"Only failed and canceled jobs can be retried; this one is {job.status}.",
            409,
        )
    return job


def delete_job(job: Job) -> None:
    """Erase a job and every file of it. A worker that renders it finds no row and stops."""
    _erase(_row_of(job))


def erase_expired_jobs() -> int:
    """Erase jobs whose time to be kept is over, but for those retried meanwhile."""
    expired = Job.objects.filter(expires_at__lt=timezone.now()).order_by("expires_at")
    return sum(erase_expired(job) for job in expired[:_ERASED_AT_A_TIME])


def erase_expired(job: Job) -> bool:
    """Erase a job unless its expiry has changed since it was read."""
    return _erase(_row_of(job).filter(expires_at=job.expires_at))


def _erase(jobs: JobQuerySet) -> bool:
    """Erase the one job, if it is there."""
    with transaction.atomic():
        # Held first: deleting begins with the lines, and a worker that keeps one holds the job first.
        job = jobs.select_for_update().first()
        if job is None:
            return False
        erase_files(job)
        job.delete()
    return True
