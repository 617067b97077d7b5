"""The pages of speakers: all of them, registering one by file or microphone, and one with its quality."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ValidationError

from accounts.people.pages import page
from accounts.scopes import Scope, holds
from accounts.served_files import served_inline
from speakers.enrollment import SHORTEST_MS, enroll_speaker, retire_speaker, speak_as
from speakers.lookup import get_speaker
from speakers.models import ReferenceClip, Speaker
from speakers.registration import (
    checked_registration,
    enrollment_of,
    kept_recordings,
    refuse_too_large,
    stored_recordings,
)
from speakers.serializers import UpdateSpeakerRequest
from voicereel_site.errors import Refusal, not_found, refusal_of
from voicereel_site.stored_text import translated

_SPEAKERS_SHOWN = 60
LANGUAGES = [
    ("en", gettext_lazy("English")),
    ("ko", gettext_lazy("Korean")),
    ("zh", gettext_lazy("Chinese")),
    ("ja", gettext_lazy("Japanese")),
    ("de", gettext_lazy("German")),
    ("fr", gettext_lazy("French")),
    ("es", gettext_lazy("Spanish")),
    ("ar", gettext_lazy("Arabic")),
    ("ru", gettext_lazy("Russian")),
    ("nl", gettext_lazy("Dutch")),
    ("it", gettext_lazy("Italian")),
    ("pl", gettext_lazy("Polish")),
    ("pt", gettext_lazy("Portuguese")),
]
# To be read aloud into the microphone: about forty seconds each, of our own writing.
READ_ALOUD = {
    "en": (
        "On the morning the river froze, the baker opened her shop an hour late, and nobody minded. "
        "Children were already sliding under the bridge, and two old men argued about how thick the ice "
        "had been in the year they were young. She put the first loaves in the window, poured herself a "
        "cup of tea, and listened. There is a kind of quiet that only comes with snow, as if the whole "
        "town had agreed to speak a little softer. By noon the sun was out, water dripped from every "
        "roof, and the quiet was gone. Still, whoever came in that day stayed longer than they had to, "
        "and left with more bread than they could eat."
    ),
    "ko": (
        "강이 얼어붙은 날 아침, 빵집 주인은 한 시간 늦게 문을 열었지만 아무도 나무라지 않았습니다. 아이들은 벌써 "
        "다리 밑에서 미끄럼을 타고 있었고, 두 노인은 젊은 시절의 얼음이 얼마나 두꺼웠는지를 두고 다투고 있었습니다. "
        "주인은 갓 구운 빵을 창가에 올려놓고 차를 한 잔 따른 다음 가만히 귀를 기울였습니다. 눈이 와야만 찾아오는 "
        "고요함이 있습니다. 온 마을이 조금 더 나직하게 말하기로 약속한 것만 같습니다. 정오가 되자 해가 나고 지붕마다 "
        "물이 떨어지며 고요함은 사라졌습니다. 그래도 그날 가게에 들른 사람들은 볼일이 끝난 뒤에도 오래 머물렀고, 다 "
        "먹지도 못할 만큼 많은 빵을 들고 돌아갔습니다."
    ),
}
# What measures of a recording are good; beyond the second number it is usable.
_GOOD_NOISE_DB, _FAIR_NOISE_DB = 25.0, 15.0


@page("GET", scope=Scope.SPEAKERS_READ)
def speaker_list(request: HttpRequest) -> HttpResponseBase:
    tenant = request.member.tenant
    words = request.GET.get("q", "").strip().replace("\0", "")[:100]
    before = request.GET.get("before", "").replace("\0", "")
    rows = Speaker.objects.for_tenant(tenant).present().order_by("-pk")
    if words:
        rows = rows.filter(name__icontains=words)
    if before:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: _SPEAKERS_SHOWN + 1])
    context = {
        "speakers": found[:_SPEAKERS_SHOWN],
        "older": found[_SPEAKERS_SHOWN - 1].pk if len(found) > _SPEAKERS_SHOWN else "",
        "words": words,
        "may_write": holds(request.member.scopes, Scope.SPEAKERS_WRITE),
    }
    return render(request, "pages/speakers.html", context)


@page("GET", scope=Scope.SPEAKERS_WRITE)
def new_speaker(request: HttpRequest) -> HttpResponseBase:
    """A form for files, or for the microphone."""
    own = request.LANGUAGE_CODE if request.LANGUAGE_CODE in READ_ALOUD else "en"
    context = {
        "languages_spoken": LANGUAGES,
        "own_language": own,
        "read_aloud": READ_ALOUD,
        "shortest_s": SHORTEST_MS // 1000,
    }
    return render(request, "pages/new_speaker.html", context)


@page("POST", scope=Scope.SPEAKERS_WRITE, refused_as="part")
def register(request: HttpRequest) -> HttpResponseBase:
    """Register a speaker, as POST /v1/speakers does. What was refused leaves the form as it is."""
    refuse_too_large(int(request.META.get("CONTENT_LENGTH") or 0))
    fields: dict[str, Any] = {
        name: request.POST[name]
        for name in ("name", "language", "transcript")
        if request.POST.get(name)
    }
    fields["consent"] = request.POST.get("consent") == "on"
    files = request.FILES.getlist("audio")
    try:
        asked = checked_registration(fields, files)
    except ValidationError as exc:
        return _refused(request, exc)
    tenant = request.member.tenant
    reference = stored_recordings(tenant.pk, files)
    with kept_recordings(tenant, reference), transaction.atomic():
        speaker = enroll_speaker(request.member, enrollment_of(asked), reference)
    where = reverse("speaker", args=[speaker.pk])
    if not request.htmx:
        return redirect(where)
    return HttpResponse(status=204, headers={"HX-Redirect": where})


_FIELD_NAMES = {
    "name": gettext_lazy("Name"),
    "audio": gettext_lazy("Recordings"),
    "language": gettext_lazy("Language"),
    "transcript": gettext_lazy("What is said in it"),
    "consent": gettext_lazy("Consent"),
}


def _refused(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    """The first thing that is wrong, with the name that its field has on the page."""
    error = refusal_of(exc).errors[0]
    name = error.pointer.split("/")[1]
    detail = f"{_FIELD_NAMES.get(name, name)}: {error.detail}"
    context = {"refusal": Refusal("validation_error", detail)}
    return render(request, "pages/refused_part.html", context, status=422)


@page("GET", scope=Scope.SPEAKERS_READ)
def speaker(request: HttpRequest, speaker_id: str) -> HttpResponseBase:
    row = get_speaker(request.member.tenant, speaker_id)
    context = {
        **_state_of(row),
        "voice_of": _voice_of(row),
        "clips": ReferenceClip.objects.for_tenant(row.tenant_id).filter(speaker=row),
        "language_name": dict(LANGUAGES).get(row.language.split("-")[0], row.language),
        "may_write": holds(request.member.scopes, Scope.SPEAKERS_WRITE),
        "may_render": holds(request.member.scopes, Scope.JOBS_WRITE),
    }
    return render(request, "pages/speaker.html", context)


def _voice_of(row: Speaker) -> Speaker | None:
    """The speaker with whose voice another speaks, if it is not its own."""
    if row.speaks_as_id is None:
        return None
    rows = Speaker.objects.for_tenant(row.tenant_id).present()
    found: Speaker | None = rows.filter(pk=row.speaks_as_id).first()
    return found


@page("GET", scope=Scope.SPEAKERS_READ, refused_as="part")
def speaker_state(request: HttpRequest, speaker_id: str) -> HttpResponseBase:
    """The part of a speaker's page that changes while its recordings are measured."""
    row = get_speaker(request.member.tenant, speaker_id)
    response = render(request, "pages/speaker_state.html", _state_of(row))
    if row.status != Speaker.Status.PROCESSING:
        response["HX-Refresh"] = "true"
    return response


def _state_of(row: Speaker) -> dict[str, Any]:
    return {
        "speaker": row,
        "reasons": [translated(reason["detail"]) for reason in row.failure_reasons],
        "findings": _findings(row.quality) if row.quality else [],
    }


def _findings(quality: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, in plain words: how good it is (good or fair), and a sentence."""
    found = []
    seconds = quality["speech_ms"] / 1000
    found.append(("good", _("%(seconds)s s of speech were found.") % {"seconds": f"{seconds:.0f}"}))
    noise = quality["signal_to_noise_db"]
    if noise is None:
        found.append(("good", _("No background was heard.")))
    elif noise >= _GOOD_NOISE_DB:
        found.append(
            (
                "good",
                _("The background is quiet (%(db)s dB below the voice).") % {"db": f"{noise:.0f}"},
            )
        )
    elif noise >= _FAIR_NOISE_DB:
        found.append(
            (
                "fair",
                _("Some background is heard (%(db)s dB below the voice).") % {"db": f"{noise:.0f}"},
            )
        )
    if not quality["clipped_percent"]:
        found.append(("good", _("Nothing is distorted.")))
    found += [("fair", translated(warning)) for warning in quality["warnings"]]
    return found


@page("GET", scope=Scope.SPEAKERS_READ, refused_as="problem")
def reference(request: HttpRequest, speaker_id: str, position: str) -> HttpResponseBase:
    """One of the recordings that were given, to be heard."""
    row = get_speaker(request.member.tenant, speaker_id)
    clips = ReferenceClip.objects.for_tenant(row.tenant_id).filter(speaker=row)
    clip = next((clip for clip in clips if str(clip.position) == position), None)
    if clip is None:
        raise not_found("recording")
    return served_inline(request, clip.audio_key, "audio/flac")


@page("POST", scope=Scope.SPEAKERS_WRITE)
def change(request: HttpRequest, speaker_id: str) -> HttpResponseBase:
    """Give a speaker another name, or its own voice again, or retire it."""
    row = get_speaker(request.member.tenant, speaker_id)
    if request.POST.get("do") == "own-voice":
        with transaction.atomic():
            speak_as(row, None, "")
        messages.success(request, _("%(name)s has its own voice again.") % {"name": row.name})
        return redirect("speaker", speaker_id)
    if request.POST.get("do") == "retire":
        retire_speaker(row)
        messages.success(
            request,
            _("%(name)s was retired: the recordings and the voice are gone.") % {"name": row.name},
        )
        return redirect("speakers")
    body = UpdateSpeakerRequest(data={"name": request.POST.get("name", "")})
    body.is_valid(raise_exception=True)
    row.name = body.validated_data["name"]
    row.save(update_fields=["name"])
    messages.success(request, _("The name was changed."))
    return redirect("speaker", speaker_id)
