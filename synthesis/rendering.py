"""The worker side of a job: claim it, speak what is missing, mix, caption, finish.

A job is held by a lease that a heartbeat renews, and by its attempt number: whoever finds that
the row no longer carries its number has lost the job and stops without a trace.
"""

import hashlib
import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.prepared import prepared
from accounts.tenancy import acting_for
from accounts.traffic import add_to_interval
from billing.models import UsageEvent
from billing.sla import OUR_FAILURES, promised
from billing.usage import Charge, Measurement, record_usage
from speakers.decoding import Waveform
from speakers.lookup import voices_by_id
from speakers.models import Speaker
from synthesis import quarantine, storage
from synthesis import stored_sentences as stored
from synthesis.captions import write_captions
from synthesis.engines import engine_for, tone
from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine
from synthesis.events import tell_of_job
from synthesis.formats import OutputChoice
from synthesis.models import LEASE, Job, JobQuerySet, Line
from synthesis.pronunciations import pronunciations_of
from synthesis.storage import KeptLines
from synthesis.timeline import Timeline, place_lines
from voicereel_site import metrics, tracing
from voicereel_site.log_context import logged_with
from voicereel_site.outages import outage_of, require_storage, until_database_is_back

log = structlog.get_logger(__name__)

# Lines are stored so often, and before more of them than this is held.
KEPT_EVERY_S, MOST_HELD_S = 1.0, 30.0
_HEARTBEAT_S = 5.0  # six chances to renew within a lease
# Attempts that finished no new line: a job that kills its workers must end.
FRUITLESS_ATTEMPTS = 3
_OUTAGE_WAIT = _QUARANTINE_WAIT = timedelta(seconds=10)


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
        held = rows.claimable(now).select_related("tenant").select_for_update(of=("self",))
        job: Job | None = held.first()
        if job is None:
            return None
        fruitless = 0
        if job.lines_done <= job.lines_done_at_claim:
            abandoned = job.status == Job.Status.PROCESSING
            fruitless = job.fruitless_attempts + (1 if abandoned else 0)
        is_over = fruitless >= FRUITLESS_ATTEMPTS
        if fruitless and not is_over and not quarantine.enter(job_id, job.attempt + 1, now):
            # Woken when there is room; should nobody be left to do so, it comes again by itself.
            rows.update(handed_at=None, due_at=now + _QUARANTINE_WAIT)
            return None
        claim = {
            "status": Job.Status.PROCESSING,
            "attempt": job.attempt + 1,
            "lease_expires_at": now + LEASE,
            "fruitless_attempts": fruitless,
            "lines_done_at_claim": job.lines_done,
            "started_at": job.started_at or now,
        }
        # On SQLite nothing is held, and the attempt says whether another was faster.
        if not rows.claimable(now).filter(attempt=job.attempt).update(**claim):
            return None
        for name, value in claim.items():
            setattr(job, name, value)
    if job.attempt > 1:
        metrics.JOB_RETRIES.inc()
    if is_over:
        fail_job(
            job,
            "worker_lost",
            stored.ATTEMPTS_SPENT % {"attempts": FRUITLESS_ATTEMPTS},
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
    with (
        logged_with(job_id=job.pk, attempt=job.attempt),
        tracing.span(
            "job",
            "CONSUMER",
            voicereel__job_id=job.pk,
            voicereel__attempt=job.attempt,
            voicereel__lines=job.lines_total,
        ),
    ):
        log.info("job.started", lines_done=job.lines_done, lines_total=job.lines_total)
        try:
            with Lease(job) as lease:
                # Before anything is spoken that could not be kept.
                require_storage()
                lines = _lines_of(job)
                with tracing.span("speak"):
                    _speak_missing_lines(job, lines, lease)
                with tracing.span("mix"):
                    _mix(job, lines)
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
                now = timezone.now()
                _ours(job).update(lease_expires_at=now, handed_at=None, due_at=now + _OUTAGE_WAIT)
                raise
            else:
                # The rows and files of a job that was deleted vanish under the work.
                _step_back(job)
        finally:
            if job.fruitless_attempts:
                quarantine.leave(job)


def _give_back(job: Job, exc: Exception, *, after: timedelta = timedelta()) -> None:
    """Queue a job again for no fault of its own; this attempt does not count."""
    outage = outage_of(exc)
    log.warning("job.given_back", outage=outage, error=type(exc).__name__)
    metrics.JOB_ENDS.labels("given_back").inc()
    if outage:
        metrics.OUTAGES.labels(outage).inc()

    def give_back() -> None:
        given_back = _ours(job).update(
            status=Job.Status.QUEUED,
            lease_expires_at=None,
            handed_at=None,
            due_at=timezone.now() + after,
        )
        if not given_back:
            _step_back(job)

    until_database_is_back(give_back, exc)


def _lines_of(job: Job) -> list[Line]:
    """All lines in order, each with its speaker and voice, of whom there is one object however often they
    speak.
    """
    lines: list[Line] = _lines(job.tenant_id, job.pk)
    lent = (line.voice_id for line in lines if line.voice_id is not None)
    speakers = voices_by_id(job.tenant, chain(lent, (line.speaker_id for line in lines)))
    for line in lines:
        line.speaker = speakers[line.speaker_id]
        line.voice = None if line.voice_id is None else speakers[line.voice_id]
    return lines


@prepared
def _lines(tenant_id: str, job_id: str) -> QuerySet:
    return Line.objects.for_tenant(tenant_id).filter(job=job_id)


def _speak_missing_lines(job: Job, all_lines: Sequence[Line], lease: Lease) -> None:
    lines = [line for line in all_lines if not line.audio_key]
    if not lines:
        return
    _refuse_gone_speakers(lines)
    by_position = {line.position: line for line in lines}
    voices = {
        one.pk: one.voice_data if job.live else tone.voice_of(one.pk)
        for one in (line.spoken_by for line in lines)
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
            voice=voices[line.spoken_by.pk],
            tenant_id=job.tenant_id,
            pronunciations=dictionaries[line.language],
        )
        for line in lines
    ]
    failed: list[FailedLine] = []
    spoken = 0
    began, began_at = time.monotonic(), time.time()
    engine = engine_for(live=job.live)
    with (
        closing(engine.speak(requests, stopping)) as results,  # type: ignore[type-var]
        _Keeper(job, by_position) as keeper,
    ):
        for result in results:
            if lease.lost:
                raise JobLost
            if isinstance(result, FailedLine):
                failed.append(result)
            else:
                tracing.note(
                    "line",
                    began_at,
                    voicereel__line=result.position,
                    voicereel__samples=len(result.waveform),
                )
                keeper.add(result)
                spoken += 1
    took_s = time.monotonic() - began
    metrics.SPEAKING_SECONDS.inc(took_s)
    if engine.on_gpu:
        job.gpu_ms = round(took_s * 1000)
    if spoken + len(failed) < len(lines):
        if stopping.is_set():
            raise WorkerStopping
        raise RuntimeError("The engine left lines out.")
    if failed:
        first = min(failed, key=lambda line: line.position)
        line_id = by_position[first.position].line_id
        detail = stored.LINE_FAILED % {"line_id": line_id, "detail": first.detail}
        raise _Failure("line_failed", detail, line_id)


def _refuse_gone_speakers(lines: Sequence[Line]) -> None:
    for line in lines:
        for speaker in (line.speaker, line.spoken_by):
            if speaker.deleted_at is not None:
                raise _gone(speaker, line.line_id)


def _gone(speaker: Speaker, line_id: str) -> _Failure:
    named = {"name": speaker.name, "id": speaker.pk, "line_id": line_id}
    detail = stored.SPEAKER_GONE % named
    return _Failure("speaker_not_found", detail, line_id)


class _Keeper:
    """Stores finished lines, so that nobody has to speak them again: at most once a second, because a
    commit and a file for each would cost more than what is in them.

    What is held at the end of the block is stored, whatever ended it, unless the job is lost.
    """

    def __init__(self, job: Job, lines: Mapping[int, Line]) -> None:
        self._job, self._lines = job, lines
        self._held: list[SpokenLine] = []
        self._stored_at = time.monotonic()

    def add(self, spoken: SpokenLine) -> None:
        """Hold a line, and store what is held if it is time."""
        self._held.append(spoken)
        held_s = sum(len(line.waveform) / line.sample_rate for line in self._held)
        # Others wait for the first line of a job that may have killed its worker: it clears the job.
        is_due = time.monotonic() - self._stored_at >= KEPT_EVERY_S or held_s >= MOST_HELD_S
        if is_due or self._job.fruitless_attempts:
            self._store()

    def _store(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        self._stored_at = time.monotonic()
        key = storage.put_lines(self._job, held)
        try:
            _keep_rows(self._job, [self._lines[line.position] for line in held], held, key)
        except _Failure:
            default_storage.delete(key)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, JobLost):
            self._store()


def _keep_rows(job: Job, lines: Sequence[Line], spoken: Sequence[SpokenLine], key: str) -> None:
    start = 0
    for line, sound in zip(lines, spoken, strict=True):
        line.audio_key, line.audio_start = key, start
        line.sample_count, line.sample_rate = len(sound.waveform), sound.sample_rate
        line.words = [[w.text, w.start_sample, w.end_sample, w.space_before] for w in sound.words]
        line.word_timing = sound.word_timing
        start += len(sound.waveform)
    with transaction.atomic():
        if not _ours(job).update(lines_done=F("lines_done") + len(lines), fruitless_attempts=0):
            raise JobLost
        if job.fruitless_attempts:
            quarantine.leave(job)
        if _update_lines(job, lines) < len(lines):
            # Whoever deleted a speaker withdrew the voice, from lines in work too.
            speakers = Speaker.objects.for_tenant(job.tenant_id)
            needed = [(line, pk) for line in lines for pk in (line.speaker_id, line.spoken_by.pk)]
            gone = speakers.exclude(deleted_at=None).in_bulk({pk for _line, pk in needed})
            first, pk = next((line, pk) for line, pk in needed if pk in gone)
            raise _gone(gone[pk], first.line_id)
    job.fruitless_attempts = 0
    metrics.LINES.inc(len(lines))
    metrics.AUDIO_SECONDS.inc(sum(len(sound.waveform) / sound.sample_rate for sound in spoken))


def _update_lines(job: Job, lines: Sequence[Line]) -> int:
    """Write what was kept of lines whose speakers are there. Returns how many.

    One statement for all, whose rows PostgreSQL and SQLite both call column1 and so on: Django's
    bulk_update takes longer to write its own than the database to do it (measured: 40 ms for ten).
    """
    words = "CAST(kept.column4 AS jsonb)" if connection.vendor == "postgresql" else "kept.column4"
    rows = ", ".join(["(%s, %s, %s, %s, %s)"] * len(lines))
    statement = (
        "UPDATE synthesis_line SET audio_key = %s, sample_rate = %s, audio_start = kept.column2, "  # nosec B608
        f"sample_count = kept.column3, words = {words}, word_timing = kept.column5 "
        f"FROM (VALUES {rows}) AS kept "
        "WHERE synthesis_line.id = kept.column1 AND job_id = %s AND tenant_id = %s AND NOT EXISTS "
        "(SELECT 1 FROM speakers_speaker WHERE speakers_speaker.id "
        "IN (synthesis_line.speaker_id, synthesis_line.voice_id) AND deleted_at IS NOT NULL)"
    )
    values: list[Any] = [lines[0].audio_key, lines[0].sample_rate]
    for line in lines:
        values += [line.pk, line.audio_start, line.sample_count, json.dumps(line.words)]
        values.append(line.word_timing)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, job.pk, job.tenant_id])
        return cursor.rowcount


def _mix(job: Job, lines: Sequence[Line]) -> None:
    """From kept lines to the finished files and the finished job."""
    from synthesis.audio import write_audio  # a second, which only workers that mix spend

    output = OutputChoice(**job.output)
    timeline = place_lines([line.as_clip() for line in lines], output.sample_rate)
    with tempfile.TemporaryDirectory(prefix="render-", dir=settings.SCRATCH_DIR) as folder:
        path = Path(folder) / f"audio.{output.format}"
        kept = KeptLines(Path(folder))
        outline = write_audio(
            path,
            timeline,
            lambda index: _read_line(job, lines, index, kept),
            output,
            title=job.title,
        )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = path.stat().st_size
        audio_key = storage.put_audio(job, path, output.format)
    storage.put_outline(job, outline)
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


def _read_line(
    job: Job, lines: Sequence[Line], index: int, kept: KeptLines
) -> tuple[Waveform, int]:
    line = lines[index]
    try:
        return kept.read(line.audio_key, line.audio_start, line.sample_count or 0)
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

    def mark(charge: Charge | None) -> None:
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
            cost=None if charge is None else charge.amount,
        )
        if not ours:
            raise JobLost

    with transaction.atomic():
        if job.live:
            record_usage(
                job.tenant,
                _measured(job, timeline, lines),
                source=f"job:{job.pk}",
                api_key_id=job.api_key_id,
                project=job.metadata.get("project", ""),
                occurred_at=now,
                charged=mark,
            )
        else:
            mark(None)
        late = now - (job.started_at or now) > promised(timeline.duration_ms)
        if job.live:
            add_to_interval(job.tenant_id, now, jobs=1, jobs_late=int(late))
        tell_of_job(job, Job.Status.SUCCEEDED)
    log.info("job.succeeded", audio_ms=timeline.duration_ms)
    metrics.JOB_ENDS.labels("succeeded").inc()
    if job.live:
        metrics.JOB_SECONDS.observe((now - (job.started_at or now)).total_seconds())
        metrics.PROMISES.labels("no" if late else "yes").inc()


def _measured(job: Job, timeline: Timeline, lines: Sequence[Line]) -> list[Measurement]:
    """Of each speaker and meter; and what is beyond the quote, which nobody pays, taken back."""
    shares: dict[str, int] = defaultdict(int)
    characters: dict[str, int] = defaultdict(int)
    for line, share_ms in zip(lines, timeline.shares_ms(), strict=True):
        shares[line.speaker_id] += share_ms
        characters[line.speaker_id] += len(line.text)
    measured = [
        Measurement(meter, quantities[speaker_id], speaker_id)
        for speaker_id in shares
        for meter, quantities in (
            (UsageEvent.Meter.AUDIO_MS, shares),
            (UsageEvent.Meter.CHARACTERS, characters),
        )
    ]
    # A job of before there were quotes has none.
    if job.currency and timeline.duration_ms > job.longest_ms:
        beyond_ms = timeline.duration_ms - job.longest_ms
        log.warning("job.beyond_quote", beyond_ms=beyond_ms)
        measured.append(Measurement(UsageEvent.Meter.AUDIO_MS, -beyond_ms))
    if job.gpu_ms:
        measured.append(Measurement(UsageEvent.Meter.GPU_MS, job.gpu_ms))
    return measured


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
        broken = bool(failed) and job.live and code in OUR_FAILURES
        if broken:
            add_to_interval(job.tenant_id, now, jobs=1, jobs_late=1)
        if failed:
            tell_of_job(job, Job.Status.FAILED)
    if failed:
        log.warning("job.failed", job_id=job.pk, code=code)
        metrics.JOB_ENDS.labels("failed").inc()
        if broken:
            metrics.PROMISES.labels("no").inc()


def fail_jobs_of_speaker(speaker: Speaker) -> None:
    """Fail the queued jobs that need a deleted speaker, and name it."""
    lines = Line.objects.for_tenant(speaker.tenant).with_voice_of(speaker.pk)
    unspoken = lines.filter(job__status=Job.Status.QUEUED, audio_key="").order_by("job_id")
    for job_id in unspoken.values_list("job_id", flat=True).distinct():
        if job := claim_job(speaker.tenant_id, job_id):
            line = lines.filter(job=job).first()
            failure = _gone(speaker, line.line_id)
            fail_job(job, failure.code, failure.detail, failure.line_id)
            quarantine.leave(job)


def _step_back(job: Job) -> None:
    """Leave a job that is not ours any more; if it was deleted, erase what we wrote since."""
    log.info("job.lost")
    metrics.JOB_ENDS.labels("lost").inc()
    if not Job.objects.for_tenant(job.tenant_id).filter(pk=job.pk).exists():
        storage.erase_files(job)
