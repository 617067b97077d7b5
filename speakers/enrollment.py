"""Registering a voice, measuring it, and retiring it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import soundfile
import structlog
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.callers import Caller
from accounts.identifiers import speaker_id as new_speaker_id
from accounts.outbox import ask_for_task, ask_to_delete_files
from speakers.analysis import analyse, failure_reasons
from speakers.decoding import REFERENCE_RATE, DecodedClip, Waveform
from speakers.events import tell_of_speaker
from speakers.models import ReferenceClip, Speaker, SpeakerQuerySet, speaker_folder
from speakers.stored_sentences import ANALYSIS_LOST
from voicereel_site.errors import FieldError, Refusal

log = structlog.get_logger(__name__)

SHORTEST_MS = 30_000
# "I have the right to this voice: it is mine, or its owner agreed to have it synthesized."
CONSENT_VERSION = "2026-11"
_LEASE = timedelta(minutes=2)  # an analysis takes seconds; after this it is taken up again
_ATTEMPTS = 3
_OUTAGE_WAIT = timedelta(seconds=10)


@dataclass(frozen=True)
class Enrollment:
    """What a customer says of a new speaker."""

    name: str
    language: str
    transcript: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredReference:
    """Clips that lie in the audio storage, below the folder of a speaker that has no row yet."""

    speaker_id: str
    keys: list[str]
    durations_ms: list[int]


def store_reference(tenant_id: str, clips: Sequence[DecodedClip]) -> StoredReference:
    """Check the length of the decoded clips and keep them.

    Raises reference_too_short with the seconds found.
    """
    total_ms = sum(clip.duration_ms for clip in clips)
    if total_ms < SHORTEST_MS:
        detail = _(
            "The reference is %(length_s)s s long; at least %(least_s)s s are needed. Send a longer "
            "recording or several."
        )
        detail %= {"length_s": f"{total_ms / 1000:.1f}", "least_s": SHORTEST_MS // 1000}
        raise Refusal("reference_too_short", detail, errors=[FieldError("/audio", detail)])
    speaker_id = new_speaker_id()
    keys = []
    for index, clip in enumerate(clips):
        with clip.path.open("rb") as file:
            name = f"{speaker_folder(tenant_id, speaker_id)}/reference-{index}.flac"
            keys.append(default_storage.save(name, File(file)))
    return StoredReference(speaker_id, keys, [clip.duration_ms for clip in clips])


def enroll_speaker(caller: Caller, enrollment: Enrollment, reference: StoredReference) -> Speaker:
    """Make the speaker, in ``processing``, and ask for its analysis. Inside a transaction."""
    speaker = Speaker.objects.create(
        pk=reference.speaker_id,
        tenant=caller.tenant,
        name=enrollment.name,
        language=enrollment.language,
        metadata=enrollment.metadata,
        reference_ms=sum(reference.durations_ms),
        consent_at=timezone.now(),
        consent_key_id=caller.pk,
        consent_version=CONSENT_VERSION,
    )
    for position, (key, duration_ms) in enumerate(
        zip(reference.keys, reference.durations_ms, strict=True)
    ):
        ReferenceClip.objects.create(
            tenant=caller.tenant,
            speaker=speaker,
            position=position,
            audio_key=key,
            duration_ms=duration_ms,
            transcript=enrollment.transcript if position == 0 else "",
        )
    # By name, because the imports point the other way: finding the voice takes an engine.
    ask_for_task("synthesis.prepare_speaker", speaker)
    return speaker


def retire_speaker(speaker: Speaker) -> None:
    """Erase a speaker's recordings and voice; jobs that wait for it fail and name it."""
    with transaction.atomic():
        if withdraw_voice(speaker):
            ReferenceClip.objects.for_tenant(speaker.tenant).filter(speaker=speaker).delete()
            ask_to_delete_files(speaker.tenant_id, speaker.folder)


def withdraw_voice(speaker: Speaker) -> bool:
    """Erase a speaker's voice, and leave its recordings to the caller. Inside a transaction.

    Returns whether it was there.
    """
    gone = _row_of(speaker).update(
        deleted_at=timezone.now(), voice_data=None, voice_preset="", quality=None, metadata={}
    )
    if gone:
        # Whoever spoke with it speaks with their own again.
        borrowers = Speaker.objects.for_tenant(speaker.tenant_id).filter(speaks_as=speaker.pk)
        borrowers.update(speaks_as=None)
        # By its id alone: the log outlives the person's name.
        audit.record(speaker.tenant_id, "speaker.deleted", speaker.pk)
        ask_for_task("synthesis.fail_jobs_of_speaker", speaker)
    return bool(gone)


def speak_as(speaker: Speaker, voice_id: str | None, pointer: str) -> None:
    """Have a speaker speak with another's own voice from now on, or with its own again (None). Jobs that were
    submitted before are spoken as they were submitted. Inside a transaction.

    pointer: to what of the request names the voice. Raises speaker_not_found or speaker_not_ready.
    """
    present = Speaker.objects.for_tenant(speaker.tenant_id).present()
    # Both are held, in one order, so that neither is retired meanwhile, and nobody waits for ever.
    held = present.filter(pk__in=[speaker.pk, voice_id]).order_by("pk").select_for_update()
    found = {row.pk: row for row in held}
    if voice_id is not None:
        if voice_id not in found or speaker.pk not in found:
            detail = _("There is no such speaker.")
            raise Refusal("speaker_not_found", detail, errors=[FieldError(pointer, detail)])
        for one in found.values():
            if one.status != Speaker.Status.READY:
                detail = _("The voice of %(name)s is not ready.") % {"name": one.name}
                raise Refusal("speaker_not_ready", detail, errors=[FieldError(pointer, detail)])
    speaker.speaks_as_id = None if voice_id == speaker.pk else voice_id
    _row_of(speaker).update(speaks_as=speaker.speaks_as_id)


def _row_of(speaker: Speaker) -> SpeakerQuerySet:
    """A speaker's row as long as it was not deleted: what every write goes through."""
    return Speaker.objects.for_tenant(speaker.tenant_id).filter(pk=speaker.pk, deleted_at=None)


def claim_analysis(tenant_id: str, speaker_id: str) -> Speaker | None:
    """Take a speaker's analysis for two minutes, or None if it is done, gone or in other hands."""
    now = timezone.now()
    free = Q(analysis_lease_expires_at=None) | Q(analysis_lease_expires_at__lt=now)
    rows = Speaker.objects.for_tenant(tenant_id).filter(pk=speaker_id)
    taken = rows.filter(free, status=Speaker.Status.PROCESSING, deleted_at=None).update(
        analysis_lease_expires_at=now + _LEASE, analysis_attempts=F("analysis_attempts") + 1
    )
    if not taken:
        return None
    speaker: Speaker = rows.select_related("tenant").get()
    if speaker.analysis_attempts > _ATTEMPTS:
        fail_speaker(
            speaker,
            [{"code": "worker_lost", "detail": ANALYSIS_LOST}],
        )
        return None
    return speaker


def postpone_analysis(speaker: Speaker) -> None:
    """Have a claimed analysis done again because of an outage; the attempt does not count."""
    with transaction.atomic():
        ours = _row_of(speaker).filter(
            status=Speaker.Status.PROCESSING,
            analysis_lease_expires_at=speaker.analysis_lease_expires_at,
        )
        if ours.update(
            analysis_lease_expires_at=timezone.now(), analysis_attempts=F("analysis_attempts") - 1
        ):
            ask_for_task("synthesis.prepare_speaker", speaker, after=_OUTAGE_WAIT)


def measure_reference(speaker: Speaker) -> Waveform | None:
    """Measure the reference and keep the report. Returns it if it will do, else fails the speaker.

    The waveform returned is at REFERENCE_RATE.
    """
    waveform = read_reference(speaker)
    quality = analyse(waveform, REFERENCE_RATE)
    _row_of(speaker).update(quality=quality.as_json())
    if reasons := failure_reasons(quality):
        fail_speaker(speaker, reasons)
        return None
    return waveform


def read_reference(speaker: Speaker) -> Waveform:
    """All clips of a speaker, one after another, at REFERENCE_RATE."""
    parts = []
    for clip in ReferenceClip.objects.for_tenant(speaker.tenant).filter(speaker=speaker):
        with default_storage.open(clip.audio_key, "rb") as file:
            parts.append(soundfile.read(file, dtype="float32")[0])
    return np.concatenate(parts)


def transcript_of(speaker: Speaker) -> str:
    """What the customer said is spoken in the reference, or "" """
    clips = ReferenceClip.objects.for_tenant(speaker.tenant).filter(speaker=speaker)
    return " ".join(clip.transcript for clip in clips if clip.transcript)


def fail_speaker(speaker: Speaker, reasons: list[dict[str, str]]) -> None:
    """Mark a speaker failed, with reasons that a person can act on."""
    with transaction.atomic():
        failed = (
            _row_of(speaker)
            .filter(status=Speaker.Status.PROCESSING)
            .update(
                status=Speaker.Status.FAILED,
                failure_reasons=reasons,
                analysis_lease_expires_at=None,
            )
        )
        if failed:
            tell_of_speaker(speaker, Speaker.Status.FAILED)
    log.info("speaker.failed", speaker_id=speaker.pk, codes=[r["code"] for r in reasons])
