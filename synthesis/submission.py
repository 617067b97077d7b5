"""The web side of a job: is it allowed, and then it is stored."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from accounts import audit
from accounts.callers import Caller
from accounts.identifiers import is_id
from accounts.models import Tenant
from accounts.prepared import NewRows, Prepared, insert_rows, prepared
from billing.accounts import account_of
from billing.quotas import Quote, admit_spending, quote
from speakers.lookup import speakers_by_id
from speakers.models import Speaker
from synthesis.admission import admit_job
from synthesis.captions import KINDS
from synthesis.durations import Foreseen, foresee
from synthesis.engines import engine_for
from synthesis.engines.base import SpeechEngine
from synthesis.events import tell_of_job
from synthesis.formats import OutputChoice, choose_output
from synthesis.models import Job, JobQuerySet, Line
from synthesis.storage import erase_files
from synthesis.words import language_of
from voicereel_site.errors import FieldError, Refusal, not_found, summed_up
from voicereel_site.request_log import carried

log = structlog.get_logger(__name__)

_ERASED_AT_A_TIME = 1000
LONGEST_SCRIPT_CHARACTERS = 200_000
INTERACTIVE_CHARACTERS = 1_000  # about a minute of speech
# JSON numbers are exact to 2^53 in every language.
LARGEST_SEED = 2**53 - 1

_REFUSALS = {
    "speaker_not_found": gettext_lazy("The script names speakers that do not exist."),
    "speaker_not_ready": gettext_lazy("The script names speakers that are not ready."),
    "language_not_supported": gettext_lazy("The script has lines that this engine cannot speak."),
}
# Of jobs, as refusals name them.
STATUSES = (
    gettext_noop("queued"),
    gettext_noop("processing"),
    gettext_noop("succeeded"),
    gettext_noop("failed"),
    gettext_noop("canceled"),
)


@dataclass(frozen=True)
class _Checked:
    """A request as far as it is known whether it is allowed."""

    script: Sequence[Mapping[str, Any]]
    output: OutputChoice | None
    errors: Sequence[FieldError]
    speakers: Mapping[str, Speaker]
    voices: Mapping[str, Speaker]  # of speakers that speak with another's, by their ids
    languages: Sequence[str]
    engine: SpeechEngine
    foreseen: Foreseen


def _check(caller: Caller, request: Mapping[str, Any]) -> _Checked:
    script: Sequence[Mapping[str, Any]] = request["script"]
    output, errors = choose_output(
        **{"format": None, "sample_rate": None, "bitrate_kbps": None, "bit_depth": None}
        | request.get("output", {})
    )
    errors = [*errors, *_script_errors(script)]
    speakers = speakers_by_id(caller.tenant, (line["speaker_id"] for line in script))
    voices = _voices_of(caller.tenant, speakers)
    script = _at_own_speed(script, speakers)
    languages = [
        line.get("language") or language_of(line["text"], _language(speakers, line))
        for line in script
    ]
    engine = engine_for(live=caller.live)
    spoken_by = {**speakers, **voices}
    errors += _speaker_errors(script, spoken_by, engine.name if caller.live else None)
    errors += _language_errors(script, languages, engine)
    foreseen = foresee(script, languages, engine)
    return _Checked(script, output, errors, speakers, voices, languages, engine, foreseen)


def _voices_of(tenant: Tenant, speakers: Mapping[str, Speaker]) -> dict[str, Speaker]:
    """Whose voices speak, of speakers that do not speak with their own."""
    lent = {pk: one.speaks_as_id for pk, one in speakers.items() if one.speaks_as_id is not None}
    lenders = speakers_by_id(tenant, lent.values()) if lent else {}
    return {pk: lenders[voice_id] for pk, voice_id in lent.items() if voice_id in lenders}


def _at_own_speed(
    script: Sequence[Mapping[str, Any]], speakers: Mapping[str, Speaker]
) -> Sequence[Mapping[str, Any]]:
    """The script with the speeds of speakers that have one of their own, where a line says none."""
    own = {pk: one.default_speed for pk, one in speakers.items() if one.default_speed != 1.0}
    if not own:
        return script
    return [
        {"speed": own[line["speaker_id"]], **line} if line["speaker_id"] in own else line
        for line in script
    ]


def submit_job(caller: Caller, request: Mapping[str, Any]) -> Job:
    """Check a well-formed request and store it as a queued job. Inside a transaction.

    request: what SynthesizeRequest validated. All errors of the script are raised at once, each
    with its line; the code is that of the first. What may not be spent is refused before anything is
    spoken.
    """
    checked = _check(caller, request)
    if checked.errors or checked.output is None:
        raise _refusal(checked.errors)
    account, reserved_ms = admit_job(caller.tenant, len(request["script"]), live=caller.live)
    quoted = None
    if caller.live:
        longest_ms = checked.foreseen.longest_ms
        quoted = quote(account, longest_ms)
        max_cost = request.get("max_cost_minor")
        admit_spending(account, quoted, longest_ms, reserved_ms, max_cost)
    return _store(caller, request, checked, quoted)


@dataclass(frozen=True)
class Preview:
    """What would become of a script. refusal: of what may be spent; None: it would be taken."""

    errors: Sequence[FieldError]
    foreseen: Foreseen
    quoted: Quote
    refusal: Refusal | None


def preview_job(caller: Caller, request: Mapping[str, Any]) -> Preview:
    """As submit_job, without a job: what is wrong, how long the audio will be, what it costs at most."""
    checked = _check(caller, request)
    account = account_of(caller.tenant, timezone.now())
    foreseen = checked.foreseen
    if not caller.live:
        return Preview(checked.errors, foreseen, Quote(0, account.currency), None)
    quoted = quote(account, foreseen.longest_ms)
    refusal = None
    try:
        with transaction.atomic():
            _account, reserved_ms = admit_job(caller.tenant, len(request["script"]), live=True)
            max_cost = request.get("max_cost_minor")
            admit_spending(account, quoted, foreseen.longest_ms, reserved_ms, max_cost)
    except Refusal as exc:
        refusal = exc
    return Preview(checked.errors, foreseen, quoted, refusal)


def _language(speakers: Mapping[str, Speaker], line: Mapping[str, Any]) -> str:
    speaker = speakers.get(line["speaker_id"])
    return speaker.language if speaker else "en"


def _line_id(line: Mapping[str, Any], index: int) -> str:
    return line.get("id") or str(index + 1)


def _script_errors(script: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    errors = []
    total = sum(len(line["text"]) for line in script)
    if total > LONGEST_SCRIPT_CHARACTERS:
        detail = _(
            "The script has %(total)s characters; %(most)s are allowed. Split it into several jobs."
        ) % {"total": f"{total:,}", "most": f"{LONGEST_SCRIPT_CHARACTERS:,}"}
        errors.append(FieldError("/script", detail))
    seen: set[str] = set()
    for index, line in enumerate(script):
        line_id = _line_id(line, index)
        if line_id in seen:
            detail = _("Another line has the id %(line_id)s. Give each its own, or leave ids out.")
            detail %= {"line_id": line_id}
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
            code = "speaker_not_found"
            detail = _("There is no speaker %(id)s. GET /v1/speakers lists yours.")
            detail %= {"id": line["speaker_id"]}
        elif speaker.status == Speaker.Status.PROCESSING:
            code = "speaker_not_ready"
            detail = _("Speaker %(name)s is still being analysed. Wait until it is ready.")
            detail %= {"name": speaker.name}
        elif speaker.status == Speaker.Status.FAILED:
            code = "speaker_not_ready"
            detail = _(
                "Speaker %(name)s failed its analysis; GET /v1/speakers/%(id)s says why. Register it "
                "again with a better recording."
            )
            detail %= {"name": speaker.name, "id": speaker.pk}
        elif engine is not None and speaker.voice_engine != engine:
            code = "speaker_not_ready"
            detail = _(
                "Speaker %(name)s was prepared for the engine %(earlier)s, and %(engine)s runs now. "
                "Register it again."
            )
            detail %= {"name": speaker.name, "earlier": speaker.voice_engine, "engine": engine}
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
    summary = _REFUSALS.get(code)
    detail = summed_up(errors)
    return Refusal(code, f"{summary} {detail}" if summary else detail, errors=errors)


def _store(
    caller: Caller, request: Mapping[str, Any], checked: _Checked, quoted: Quote | None
) -> Job:
    assert checked.output is not None
    script = checked.script
    seed = request.get("seed")
    voices = {speaker_id: voice.pk for speaker_id, voice in checked.voices.items()}
    notices = {checked.engine.notice(language) for language in checked.languages} - {None}
    job = Job(
        tenant=caller.tenant,
        api_key_id=caller.pk,
        live=caller.live,
        title=request.get("title", ""),
        output=dict(vars(checked.output)),
        captions=sorted(set(request.get("captions", KINDS)), key=KINDS.index),
        seed=secrets.randbelow(2**31) if seed is None else seed,
        metadata=request.get("metadata", {}),
        notices=sorted(map(str, notices)),
        priority=_priority(script),
        origin=carried(),
        longest_ms=0 if quoted is None else checked.foreseen.longest_ms,
        quote_minor=0 if quoted is None else quoted.amount_minor,
        currency="" if quoted is None else quoted.currency,
        max_cost_minor=request.get("max_cost_minor"),
        lines_total=len(script),
        retention_hours=request.get("retention_hours", caller.tenant.retention_hours),
        created_at=timezone.now(),
    )
    lines = [
        {
            "tenant_id": job.tenant_id,
            "job_id": job.pk,
            "position": index,
            "line_id": _line_id(line, index),
            "speaker_id": line["speaker_id"],
            "voice_id": voices.get(line["speaker_id"]),
            "text": line["text"],
            "language": checked.languages[index],
            "speed": line.get("speed", 1.0),
            "pause_after_ms": line.get("pause_after_ms"),
        }
        for index, line in enumerate(script)
    ]
    insert_rows(NewRows(Job, [vars(job)]), NewRows(Line, lines))
    log.info("job.submitted", job_id=job.pk, lines=len(script))
    return job


def _priority(script: Sequence[Mapping[str, Any]]) -> int:
    """Scripts that are short enough for somebody to wait for go before a tenant's long ones."""
    short = sum(len(line["text"]) for line in script) <= INTERACTIVE_CHARACTERS
    return int(Job.Priority.INTERACTIVE if short else Job.Priority.BULK)


def get_job(tenant: Tenant, job_id: str) -> Job:
    """This tenant's job. Raises not_found."""
    return _found(_job, tenant, job_id)


def get_job_to_show(tenant: Tenant, job_id: str) -> Job:
    """Likewise, without what no answer shows, which would be asked for when it is looked at."""
    return _found(_job_to_show, tenant, job_id)


def _found(jobs: Prepared, tenant: Tenant, job_id: str) -> Job:
    # PostgreSQL refuses to look for some texts that are no ids, such as NUL.
    found: list[Job] = jobs(tenant.pk, job_id) if is_id(job_id) else []
    if not found:
        raise not_found("job")
    # As ``found[0].tenant = tenant``, which first makes sure of what is so.
    Job._meta.get_field("tenant").set_cached_value(found[0], tenant)
    return found[0]


@prepared
def _job(tenant_id: str, job_id: str) -> "QuerySet[Job]":
    return Job.objects.for_tenant(tenant_id).filter(pk=job_id)


@prepared
def _job_to_show(tenant_id: str, job_id: str) -> "QuerySet[Job]":
    return (
        Job.objects.for_tenant(tenant_id)
        .filter(pk=job_id)
        .defer(
            *("api_key_id", "origin", "longest_ms", "max_cost_minor", "audio_key", "caption_keys"),
            *("attempt", "lines_done_at_claim", "fruitless_attempts", "lease_expires_at"),
        )
    )


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
        detail = _("The job has %(status)s and cannot be canceled any more.")
        raise Refusal("validation_error", detail % {"status": _(job.status)}, 409)
    return job


def retry_job(job: Job) -> Job:
    """Queue a failed or canceled job again; only what is missing will be spoken.

    Raises system_busy, too_many_concurrent_jobs or quota_exceeded, or validation_error (409) if it is
    neither.
    """
    with transaction.atomic():
        if _stopped(job).exists():
            left = job.lines_total - job.lines_done
            account, reserved_ms = admit_job(job.tenant, left, live=job.live)
            if job.live:
                quoted = Quote(job.quote_minor, job.currency)
                admit_spending(account, quoted, job.longest_ms, reserved_ms, job.max_cost_minor)
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
            handed_at=None,
            due_at=timezone.now(),
            origin=carried(),
        )
    job.refresh_from_db()
    if not queued:
        detail = _("Only failed and canceled jobs can be retried; this one is %(status)s.")
        raise Refusal("validation_error", detail % {"status": _(job.status)}, 409)
    return job


def delete_job(job: Job) -> None:
    """Erase a job and every file of it. A worker that renders it finds no row and stops."""
    with transaction.atomic():
        if _erase(_row_of(job)):
            audit.record(job.tenant_id, "job.deleted", job.pk)


def erase_expired_jobs() -> int:
    """Erase jobs whose time to be kept is over, but for those retried meanwhile, and those of suspended
    tenants, who could not fetch them.
    """
    over = Job.objects.filter(expires_at__lt=timezone.now(), tenant__suspended_at=None)
    expired = over.order_by("expires_at")
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
