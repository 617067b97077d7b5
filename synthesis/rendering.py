"""The worker side of a job: claim it, speak what is missing, mix, caption, finish.

A job is held by a lease that a heartbeat renews, and by its attempt number: whoever finds that
the row no longer carries its number has lost the job and stops without a trace.
"""

import hashlib
import tempfile
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts.tenancy import acting_for
from billing.models import UsageEvent
from billing.usage import record_usage
from speakers.decoding import Waveform
from speakers.models import Speaker
from synthesis import quarantine, storage
from synthesis.audio import write_audio
from synthesis.captions import write_captions
from synthesis.engines import engine_for, tone
from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine
from synthesis.events import tell_of_job
from synthesis.formats import OutputChoice
from synthesis.models import LEASE, Job, JobQuerySet, Line
from synthesis.pronunciations import pronunciations_of
from synthesis.timeline import SpokenClip, Timeline, place_lines
from synthesis.wakeups import ask_to_render
from voicereel_site.outages import outage_of, require_storage, until_database_is_back

log = structlog.get_logger(__name__)

_HEARTBEAT_S = 5.0  # six chances to renew within a lease
# Attempts that finished no new line: a job that kills its workers must end.
FRUITLESS_ATTEMPTS = 3
_OUTAGE_WAIT = timedelta(seconds=10)


class JobLost(Exception):
    """The job was canceled, deleted, or taken up by another worker."""


class WorkerStopping(Exception):
    """This process was asked to end."""


# Set when this process is asked to end: engines finish the lines in hand, and jobs are given back, for
# another worker to go on with at once. A job that is being mixed is finished.
stopping = threading.Event()


class _Failure(Exception):
    """The job cannot succeed."""

    def __init__(self, code: str, detail: str, line_id: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.line_id = code, detail, line_id


def claim_job(tenant_id: str, job_id: str) -> Job | None:
    """Take a job for one lease, or None if it is done, gone, in other hands or has to wait."""
    now = timezone.now()
    rows = Job.objects.for_tenant(tenant_id).filter(pk=job_id)
    with transaction.atomic():
        before = rows.claimable(now).select_for_update().first()
        if before is None:
            return None
        fruitless = 0
        if before.lines_done <= before.lines_done_at_claim:
            abandoned = before.status == Job.Status.PROCESSING
            fruitless = before.fruitless_attempts + (1 if abandoned else 0)
        is_over = fruitless >= FRUITLESS_ATTEMPTS
        if fruitless and not is_over and not quarantine.enter(job_id, before.attempt + 1, now):
            return None
        claimed = (
            rows.claimable(now)
            .filter(attempt=before.attempt)
            .update(
                status=Job.Status.PROCESSING,
                attempt=F("attempt") + 1,
                lease_expires_at=now + LEASE,
                fruitless_attempts=fruitless,
                lines_done_at_claim=before.lines_done,
                started_at=before.started_at or now,
            )
        )
        if not claimed:
            return None
        job: Job = rows.select_related("tenant").get()
    if is_over:
        fail_job(
            job,
            "worker_lost",
            f"{FRUITLESS_ATTEMPTS} attempts in a row ended without a new line. We have been told; "
            "retry it later.",
        )
        return None
    return job


class Lease:
    """Renews the hold on a job from a thread of its own, until the block ends or it is lost."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{job.pk}", daemon=True)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def _renew(self) -> None:
        try:
            while not self._done.wait(_HEARTBEAT_S):
                until = timezone.now() + LEASE
                try:
                    with acting_for(self._job.tenant_id):
                        held = _ours(self._job).update(lease_expires_at=until)
                        if held and self._job.fruitless_attempts:
                            quarantine.renew(self._job, until)
                except Exception as exc:
                    if outage_of(exc) is None:
                        raise
                    connection.close()
                    continue  # nobody else can take the job up either
                if not held:
                    self._lost.set()
                    return
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()


def _ours(job: Job) -> JobQuerySet:
    """The job's row as long as it is this attempt's: what every write of a worker goes through."""
    rows = Job.objects.for_tenant(job.tenant_id).filter(pk=job.pk)
    return rows.filter(status=Job.Status.PROCESSING, attempt=job.attempt)


def render(job: Job) -> None:
    """Bring a claimed job to its end."""
    with structlog.contextvars.bound_contextvars(job_id=job.pk, attempt=job.attempt):
        log.info("job.started", lines_done=job.lines_done, lines_total=job.lines_total)
        try:
            with Lease(job) as lease:
                # Before anything is spoken that could not be kept.
                require_storage()
                _speak_missing_lines(job, lease)
                _mix(job)
        except JobLost:
            _step_back(job)
        except WorkerStopping as exc:
            _give_back(job, exc)
        except _Failure as failure:
            fail_job(job, failure.code, failure.detail, failure.line_id)
        except Exception as exc:
            if outage_of(exc):
                _give_back(job, exc, after=_OUTAGE_WAIT)
            elif _ours(job).exists():
                # Ours to mend. The next attempt is counted as the next after a dead worker.
                with transaction.atomic():
                    _ours(job).update(lease_expires_at=timezone.now())
                    ask_to_render(job, after=_OUTAGE_WAIT)
                raise
            else:
                # The rows and files of a job that was deleted vanish under the work.
                _step_back(job)
        finally:
            if job.fruitless_attempts:
                quarantine.leave(job)


def _give_back(job: Job, exc: Exception, *, after: timedelta = timedelta()) -> None:
    """Queue a job again for no fault of its own; this attempt does not count."""
    log.warning("job.given_back", outage=outage_of(exc), error=type(exc).__name__)

    def give_back() -> None:
        with transaction.atomic():
            given_back = _ours(job).update(
                status=Job.Status.QUEUED, lease_expires_at=None, nudged_at=timezone.now()
            )
            if given_back:
                ask_to_render(job, after=after)
        if not given_back:
            _step_back(job)

    until_database_is_back(give_back, exc)


def _speak_missing_lines(job: Job, lease: Lease) -> None:
    lines = list(
        Line.objects.for_tenant(job.tenant)
        .filter(job=job, audio_key="")
        .select_related("speaker")
        # A cloned voice is 15 kB: once for a speaker, not for each line.
        .defer("speaker__voice_data")
    )
    _refuse_gone_speakers(lines)
    by_position = {line.position: line for line in lines}
    speakers = Speaker.objects.for_tenant(job.tenant).in_bulk({line.speaker_id for line in lines})
    voices = {
        speaker.pk: speaker.voice_data if job.live else tone.voice_of(speaker.pk)
        for speaker in speakers.values()
    }
    languages = {line.language for line in lines}
    dictionaries = {language: pronunciations_of(job.tenant, language) for language in languages}
    requests = [
        LineToSpeak(
            position=line.position,
            text=line.text,
            language=line.language,
            speed=line.speed,
            seed=job.seed + line.position,
            voice=voices[line.speaker_id],
            tenant_id=job.tenant_id,
            pronunciations=dictionaries[line.language],
        )
        for line in lines
    ]
    failed: list[FailedLine] = []
    spoken = 0
    with closing(engine_for(live=job.live).speak(requests, stopping)) as results:  # type: ignore[type-var]
        for result in results:
            if lease.lost:
                raise JobLost
            if isinstance(result, FailedLine):
                failed.append(result)
            else:
                _keep_line(job, by_position[result.position], result)
                spoken += 1
    if spoken + len(failed) < len(lines):
        if stopping.is_set():
            raise WorkerStopping
        raise RuntimeError("The engine left lines out.")
    if failed:
        first = min(failed, key=lambda line: line.position)
        line_id = by_position[first.position].line_id
        raise _Failure("line_failed", f"Line {line_id}: {first.detail}", line_id)


def _refuse_gone_speakers(lines: Sequence[Line]) -> None:
    for line in lines:
        if line.speaker.deleted_at is not None:
            raise _gone(line.speaker, line.line_id)


def _gone(speaker: Speaker, line_id: str) -> _Failure:
    detail = (
        f"Speaker {speaker.name} ({speaker.pk}), which line {line_id} needs, was deleted. "
        "Submit the script again with another speaker."
    )
    return _Failure("speaker_not_found", detail, line_id)


def _keep_line(job: Job, line: Line, spoken: SpokenLine) -> None:
    """Store a finished line, so that nobody has to speak it again."""
    key = storage.put_line(job, spoken)
    try:
        _keep_row(job, line, spoken, key)
    except _Failure:
        default_storage.delete(key)
        raise


def _keep_row(job: Job, line: Line, spoken: SpokenLine, key: str) -> None:
    with transaction.atomic():
        if not _ours(job).update(lines_done=F("lines_done") + 1, fruitless_attempts=0):
            raise JobLost
        if job.fruitless_attempts:
            quarantine.leave(job)
        rows = Line.objects.for_tenant(job.tenant_id).filter(pk=line.pk, speaker__deleted_at=None)
        kept = rows.update(
            audio_key=key,
            sample_count=len(spoken.waveform),
            sample_rate=spoken.sample_rate,
            words=[[w.text, w.start_sample, w.end_sample, w.space_before] for w in spoken.words],
            word_timing=spoken.word_timing,
        )
        if not kept:
            # Whoever deleted the speaker withdrew the voice, from lines in work too.
            raise _gone(line.speaker, line.line_id)
    job.fruitless_attempts = 0


def _mix(job: Job) -> None:
    """From kept lines to the finished files and the finished job."""
    lines = list(
        Line.objects.for_tenant(job.tenant)
        .filter(job=job)
        .select_related("speaker")
        .defer("speaker__voice_data")
    )
    output = OutputChoice(**job.output)
    clips = [
        SpokenClip(
            line.line_id,
            line.speaker_id,
            line.speaker.name,
            line.language,
            line.text,
            line.sample_count,
            line.sample_rate,
            line.words,
            line.word_timing,
            line.pause_after_ms,
        )
        for line in lines
    ]
    timeline = place_lines(clips, output.sample_rate)
    with tempfile.TemporaryDirectory(prefix="render-", dir=settings.SCRATCH_DIR) as folder:
        path = Path(folder) / f"audio.{output.format}"
        write_audio(
            path,
            timeline,
            lambda index: _read_line(job, lines, index, Path(folder)),
            output,
            title=job.title,
        )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = path.stat().st_size
        audio_key = storage.put_audio(job, path, output.format)
    caption_keys = storage.put_captions(job, write_captions(timeline, job.captions))
    finish_job(
        job,
        timeline,
        lines,
        audio_key=audio_key,
        audio_bytes=size_bytes,
        audio_sha256=sha256,
        caption_keys=caption_keys,
    )


def _read_line(job: Job, lines: Sequence[Line], index: int, folder: Path) -> tuple[Waveform, int]:
    try:
        return storage.read_line(lines[index].audio_key, folder)
    except FileNotFoundError:
        # Lost from the storage, and maybe others with it: the next attempt speaks them again.
        keys = [line.audio_key for line in lines]
        forget_lines(job, [key for key in keys if not default_storage.exists(key)])
        raise


def forget_lines(job: Job, audio_keys: Collection[str]) -> None:
    """Have lines whose files are missing spoken again, if the job still runs."""
    active = [Job.Status.QUEUED, Job.Status.PROCESSING]
    with transaction.atomic():
        rows = Job.objects.for_tenant(job.tenant_id).filter(pk=job.pk, status__in=active)
        row = rows.select_for_update().first()
        if row is None:
            return
        forgotten = (
            Line.objects.for_tenant(job.tenant)
            .filter(job=row, audio_key__in=audio_keys)
            .update(audio_key="")
        )
        row.lines_done -= forgotten
        # An attempt that speaks them again has done something new.
        row.lines_done_at_claim = min(row.lines_done_at_claim, row.lines_done)
        row.save(update_fields=["lines_done", "lines_done_at_claim"])


def finish_job(
    job: Job,
    timeline: Timeline,
    lines: Sequence[Line],
    *,
    audio_key: str,
    audio_bytes: int,
    audio_sha256: str,
    caption_keys: dict[str, str],
) -> None:
    """Mark the job succeeded and record its usage, if it is a live one: both, or neither.

    Raises JobLost if it is not ours any more; ``attempt`` tells whose turn it is.
    """
    now = timezone.now()
    with transaction.atomic():
        ours = _ours(job).update(
            status=Job.Status.SUCCEEDED,
            lease_expires_at=None,
            finished_at=now,
            expires_at=job.expiry(now),
            audio_key=audio_key,
            audio_ms=timeline.duration_ms,
            audio_bytes=audio_bytes,
            audio_sha256=audio_sha256,
            caption_keys=caption_keys,
        )
        if not ours:
            raise JobLost
        if job.live:
            _record_usage(job, timeline, lines, now)
        tell_of_job(job, Job.Status.SUCCEEDED)
    log.info("job.succeeded", audio_ms=timeline.duration_ms)


def _record_usage(
    job: Job, timeline: Timeline, lines: Sequence[Line], finished_at: datetime
) -> None:
    """One event for each speaker and meter."""
    shares: dict[str, int] = defaultdict(int)
    characters: dict[str, int] = defaultdict(int)
    for line, share_ms in zip(lines, timeline.shares_ms(), strict=True):
        shares[line.speaker_id] += share_ms
        characters[line.speaker_id] += len(line.text)
    for speaker_id in shares:
        for meter, quantity in (
            (UsageEvent.Meter.AUDIO_MS, shares[speaker_id]),
            (UsageEvent.Meter.CHARACTERS, characters[speaker_id]),
        ):
            record_usage(
                job.tenant,
                meter,
                quantity,
                source=f"job:{job.pk}",
                speaker_id=speaker_id,
                api_key_id=job.api_key_id,
                project=job.metadata.get("project", ""),
                occurred_at=finished_at,
            )


def fail_job(job: Job, code: str, detail: str, line_id: str = "") -> None:
    """Mark a claimed job failed, unless it is not ours any more."""
    now = timezone.now()
    with transaction.atomic():
        failed = _ours(job).update(
            status=Job.Status.FAILED,
            lease_expires_at=None,
            finished_at=now,
            expires_at=job.expiry(now),
            error_code=code,
            error_detail=detail,
            error_line_id=line_id,
        )
        if failed:
            tell_of_job(job, Job.Status.FAILED)
    if failed:
        log.warning("job.failed", job_id=job.pk, code=code)


def fail_jobs_of_speaker(speaker: Speaker) -> None:
    """Fail the queued jobs that need a deleted speaker, and name it."""
    waiting = (
        Job.objects.for_tenant(speaker.tenant)
        .filter(status=Job.Status.QUEUED, lines__speaker=speaker, lines__audio_key="")
        .distinct()
    )
    for job_id in waiting.values_list("pk", flat=True):
        if job := claim_job(speaker.tenant_id, job_id):
            line = Line.objects.for_tenant(speaker.tenant).filter(job=job, speaker=speaker).first()
            failure = _gone(speaker, line.line_id)
            fail_job(job, failure.code, failure.detail, failure.line_id)
            quarantine.leave(job)


def _step_back(job: Job) -> None:
    """Leave a job that is not ours any more; if it was deleted, erase what we wrote since."""
    log.info("job.lost")
    if not Job.objects.for_tenant(job.tenant_id).filter(pk=job.pk).exists():
        storage.erase_files(job)
