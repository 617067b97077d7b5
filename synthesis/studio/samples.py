"""What is there for whoever has nothing yet: two voices and a conversation."""

from pathlib import Path

from django.db import transaction

from accounts.callers import Caller
from accounts.models import Tenant
from speakers.decoding import decoded
from speakers.enrollment import Enrollment, enroll_speaker, store_reference
from speakers.models import Speaker
from speakers.registration import forget_recordings, kept_recordings
from synthesis.studio.imports import ImportedLine, read_script

_FOLDER = Path(__file__).parent / "sample_voices"
# Read aloud by presets of the embedded engine (manage.py record_preset): nobody's own voice.
VOICES = {"Anna": "af_heart.ogg", "Ben": "am_michael.ogg"}
_TITLES = {"en": "The last ferry", "ko": "마지막 배"}
_SCRIPTS = {
    "en": """\
Anna: Did you hear the last ferry go?
Ben: I did. Ten minutes early, and half the town still on the pier.
Anna: So what do we do now?
Ben: We wait for the night train. It stops here once a week, and tonight is the night.
Anna: Then I will get us some oranges. It is a long way home.
""",
    "ko": """\
Anna: 마지막 배가 떠나는 소리 들었어요?
Ben: 네, 들었어요. 십 분이나 일찍 떠났어요.
Anna: 그럼 이제 어떻게 하죠?
Ben: 밤기차를 기다려야죠. 일주일에 한 번 서는데, 오늘이 그날이에요.
Anna: 그럼 제가 귤을 좀 사 올게요. 집까지 멀잖아요.
""",
}


def sample_script(language: str) -> tuple[str, list[ImportedLine]]:
    """A short conversation's title and lines, in a language or in English."""
    known = language if language in _SCRIPTS else "en"
    return _TITLES[known], read_script(_SCRIPTS[known])


def missing_voices(caller: Caller) -> list[str]:
    """The names of the sample voices that a tenant does not have."""
    rows = Speaker.objects.for_tenant(caller.tenant).present().exclude(status=Speaker.Status.FAILED)
    present = set(rows.filter(name__in=VOICES).values_list("name", flat=True))
    return [name for name in VOICES if name not in present]


def add_sample_voices(caller: Caller) -> list[Speaker]:
    """Register the sample voices that a tenant does not have, as anybody registers a speaker."""
    transcript = (_FOLDER / "transcript.txt").read_text()
    made = []
    for name in missing_voices(caller):
        source = _FOLDER / VOICES[name]
        with decoded([source], [source.name]) as clips:
            reference = store_reference(caller.tenant.pk, clips)
        with kept_recordings(caller.tenant, reference), transaction.atomic():
            # Held, so that a button pressed twice registers each voice once.
            Tenant.objects.select_for_update(no_key=True).get(pk=caller.tenant.pk)
            if name not in missing_voices(caller):
                forget_recordings(caller.tenant, reference)
                continue
            enrollment = Enrollment(name, "en", transcript, {"sample": "yes"})
            made.append(enroll_speaker(caller, enrollment, reference))
    return made
