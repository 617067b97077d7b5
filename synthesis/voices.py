"""From a registered reference to a voice of the engine."""

import structlog
from django.db import transaction

from accounts.models import Tenant
from speakers.decoding import REFERENCE_RATE
from speakers.enrollment import fail_speaker, measure_reference, transcript_of
from speakers.events import tell_of_speaker
from speakers.models import Speaker
from synthesis.engines import get_engine
from synthesis.engines.base import EngineError

log = structlog.get_logger(__name__)

_ROUNDS = 3  # of finding a preset that is still free when it is written down


def prepare_speaker(speaker: Speaker) -> None:
    """Measure a claimed speaker's reference, find its voice, and mark it ready (or failed)."""
    reference = measure_reference(speaker)
    if reference is None:
        return
    engine = get_engine()
    for round_number in range(_ROUNDS):
        try:
            voice = engine.prepare_voice(
                reference,
                REFERENCE_RATE,
                language=speaker.language,
                transcript=transcript_of(speaker),
                taken=_taken_presets(speaker.tenant),
            )
        except EngineError as exc:
            fail_speaker(speaker, [{"code": "voice_not_made", "detail": exc.detail}])
            return
        with transaction.atomic():
            # Holding the tenant's row keeps two analyses from taking the same preset.
            Tenant.objects.select_for_update(no_key=True).get(pk=speaker.tenant_id)
            if voice.preset in _taken_presets(speaker.tenant) and round_number < _ROUNDS - 1:
                continue
            rows = Speaker.objects.for_tenant(speaker.tenant).filter(
                pk=speaker.pk, status=Speaker.Status.PROCESSING, deleted_at=None
            )
            ready = rows.update(
                status=Speaker.Status.READY,
                analysis_lease_expires_at=None,
                voice_engine=engine.name,
                voice_mode=voice.mode,
                voice_preset=voice.preset,
                voice_similarity=voice.similarity,
                voice_data=dict(voice.data),
            )
            if ready:
                tell_of_speaker(speaker, Speaker.Status.READY)
        log.info("speaker.ready", speaker_id=speaker.pk, mode=voice.mode)
        return


def _taken_presets(tenant: Tenant) -> frozenset[str]:
    presets = Speaker.objects.for_tenant(tenant).present().exclude(voice_preset="")
    return frozenset(presets.values_list("voice_preset", flat=True))
