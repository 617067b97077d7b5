"""Which engine this installation runs."""

from functools import cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from synthesis.engines.base import SpeechEngine


def engine_for(*, live: bool) -> SpeechEngine:
    """The engine of a live job, or that of a test job: tones, in any language, on any machine."""
    return get_engine() if live else _test_engine()


@cache
def _test_engine() -> SpeechEngine:
    from synthesis.engines.tone import ToneEngine

    return ToneEngine()


@cache
def get_engine() -> SpeechEngine:
    """The engine that ``VOICEREEL_ENGINE`` names. Making it is cheap; models load at first use."""
    match settings.ENGINE:
        case "kokoro":
            from synthesis.engines.kokoro import KokoroEngine

            return KokoroEngine()
        case "fish":
            from synthesis.engines.fish.engine import FishEngine

            return FishEngine()
        case "tone":
            from synthesis.engines.tone import ToneEngine

            return ToneEngine()
    raise ImproperlyConfigured(
        f"VOICEREEL_ENGINE={settings.ENGINE!r}: choose kokoro, fish or tone."
    )
