# ruff: noqa: E402 - what has models is imported after the settings, which are in this file too
"""The hot routes as a newcomer to Django REST framework would write them, by its tutorial.

The models are the project's; settings, views and serializers are not. Nothing here is done to be slow:
default middleware, a connection per request, serializers of models, a query for each related object.

    gunicorn --workers 2 benchmarks.peers.naive_drf:application
"""

import hmac
import os
import secrets
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import django
import structlog
from django.conf import settings

# The project refuses to start without them; nothing here encrypts or sends mail.
os.environ.setdefault("VOICEREEL_ENCRYPTION_KEYS", "unused")
os.environ.setdefault("VOICEREEL_MAIL_URL", "consolemail://")

from voicereel_site.celery import app as celery  # loads the project's settings

settings.ROOT_URLCONF = __name__
settings.DATABASES["default"].update(CONN_MAX_AGE=0, CONN_HEALTH_CHECKS=False)
settings.INSTALLED_APPS = ["django_prometheus", *settings.INSTALLED_APPS]
settings.MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    f"{__name__}.RequestLogMiddleware",
    # as startproject writes them
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # an installed app of the project asks for it
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
settings.REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": f"{__name__}.exception_handler",
}
django.setup()

from django.core import signing
from django.core.files.storage import default_storage
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import include, path, reverse
from django.utils import timezone
from rest_framework import exceptions, generics, serializers, views
from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from accounts.limits import RedisBuckets
from accounts.models import ApiKey, Tenant
from accounts.plans import allowance_of
from speakers.models import Speaker
from synthesis.captions import KINDS
from synthesis.formats import BIT_DEPTHS, FORMATS
from synthesis.models import ACTIVE, Job, Line
from synthesis.submission import INTERACTIVE_CHARACTERS
from synthesis.words import language_of

log = structlog.get_logger("naive_drf")

LINK_LIFETIME = timedelta(minutes=15)
LOSSLESS = [name for name, fmt in FORMATS.items() if fmt.lossless]
QUEUE = "peer"  # no worker listens to it
buckets = RedisBuckets(settings.REDIS_URL)


class RequestLogMiddleware:
    """An id for every request, and one line in the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = f"req_{uuid.uuid4().hex}"
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            log.info(
                "request",
                method=request.method,
                route=getattr(request.resolver_match, "route", None),
                status=response.status_code,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
            )
        return response


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """422, not 400, for well-formed JSON that is not what a route takes."""
    response = views.exception_handler(exc, context)
    if response is not None and isinstance(exc, exceptions.ValidationError):
        response.status_code = 422
    return response


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer vr_live_...``; request.user is the tenant."""

    def authenticate(self, request: Request) -> tuple[Tenant, ApiKey]:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        key = ApiKey.objects.select_related("tenant").filter(public_id=given[8:16]).first()
        digest = hmac.new(settings.API_KEY_PEPPER.encode(), given.encode(), "sha256").hexdigest()
        now = timezone.now()
        if (
            scheme != "Bearer"
            or key is None
            or not hmac.compare_digest(key.digest, digest)
            or key.is_dead(now)
        ):
            raise exceptions.AuthenticationFailed
        key.last_used_at = now
        key.save(update_fields=["last_used_at"])
        return key.tenant, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class TenantThrottle(BaseThrottle):
    """The tenant's bucket."""

    def allow_request(self, request: Request, view: views.APIView) -> bool:
        taken, _, _ = buckets.take(request.user.pk, allowance_of(request.user.plan))
        return taken


class TenantView(generics.GenericAPIView):
    """A route that needs a key."""

    authentication_classes = [KeyAuthentication]
    throttle_classes = [TenantThrottle]


class JobSerializer(serializers.ModelSerializer):
    mode = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    estimated_start_at = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    audio = serializers.SerializerMethodField()
    captions = serializers.SerializerMethodField()
    links_expire_at = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id",
            "mode",
            "title",
            "status",
            "progress",
            "queue_position",
            "estimated_start_at",
            "created_at",
            "started_at",
            "finished_at",
            "retention_hours",
            "expires_at",
            "error",
            "audio",
            "captions",
            "links_expire_at",
            "notices",
            "seed",
            "metadata",
        ]

    def get_mode(self, job: Job) -> str:
        return "live" if job.live else "test"

    def get_progress(self, job: Job) -> dict[str, int]:
        return {"lines_done": job.lines_done, "lines_total": job.lines_total}

    def get_queue_position(self, job: Job) -> int | None:
        return 0 if job.status == Job.Status.QUEUED else None

    def get_estimated_start_at(self, job: Job) -> datetime | None:
        return timezone.now() if job.status == Job.Status.QUEUED else None

    def get_error(self, job: Job) -> dict[str, str | None] | None:
        if job.status != Job.Status.FAILED:
            return None
        return {
            "code": job.error_code,
            "detail": job.error_detail,
            "line_id": job.error_line_id or None,
        }

    def get_audio(self, job: Job) -> dict[str, Any] | None:
        if job.status != Job.Status.SUCCEEDED:
            return None
        return {
            "url": self._link(job, "audio", job.output["format"]),
            "format": job.output["format"],
            "sample_rate": job.output["sample_rate"],
            "duration_ms": job.audio_ms,
            "size_bytes": job.audio_bytes,
            "sha256": job.audio_sha256,
        }

    def get_captions(self, job: Job) -> dict[str, str] | None:
        if job.status != Job.Status.SUCCEEDED:
            return None
        return {kind: self._link(job, kind, kind) for kind in job.captions}

    def get_links_expire_at(self, job: Job) -> datetime | None:
        if job.status != Job.Status.SUCCEEDED:
            return None
        return (timezone.now() + LINK_LIFETIME).replace(microsecond=0)

    def _link(self, job: Job, kind: str, extension: str) -> str:
        token = signing.dumps([job.pk, kind])
        url = reverse("file", args=[token, f"{job.pk}.{extension}"])
        return str(self.context["request"].build_absolute_uri(url))


def download(request: HttpRequest, token: str, filename: str) -> FileResponse:
    """The file behind a link."""
    try:
        job_id, kind = signing.loads(token, max_age=LINK_LIFETIME)
    except signing.BadSignature as exc:
        raise Http404 from exc
    job = get_object_or_404(Job, pk=job_id)
    return FileResponse(
        default_storage.open(job.audio_key if kind == "audio" else job.caption_keys[kind])
    )


class JobView(TenantView, generics.RetrieveAPIView):
    """GET /v1/jobs/{id}"""

    serializer_class = JobSerializer

    def get_queryset(self) -> QuerySet[Job]:
        return Job.objects.filter(tenant=self.request.user)


class QualitySerializer(serializers.Serializer):
    speech_ms = serializers.IntegerField()
    loudness_lufs = serializers.FloatField(allow_null=True)
    clipped_percent = serializers.FloatField()
    signal_to_noise_db = serializers.FloatField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class SpeakerSerializer(serializers.ModelSerializer):
    voice_mode = serializers.SerializerMethodField()
    similarity = serializers.FloatField(source="voice_similarity")
    quality = QualitySerializer()
    transcript = serializers.SerializerMethodField()

    class Meta:
        model = Speaker
        fields = [
            "id",
            "name",
            "language",
            "status",
            "voice_mode",
            "similarity",
            "quality",
            "failure_reasons",
            "reference_ms",
            "transcript",
            "metadata",
            "consent_at",
            "consent_version",
            "created_at",
        ]

    def get_voice_mode(self, speaker: Speaker) -> str | None:
        return speaker.voice_mode or None

    def get_transcript(self, speaker: Speaker) -> str | None:
        clips = speaker.clips.all()
        return (clips[0].transcript or None) if clips else None


class NewestFirst(CursorPagination):
    """Twenty at a time; the cursor is the last id."""

    page_size = 20
    page_size_query_param = "limit"
    max_page_size = 100
    ordering = "-id"

    def encode_cursor(self, cursor: Cursor) -> str:
        return urlsafe_b64encode(cursor.position.encode()).decode().rstrip("=")

    def decode_cursor(self, request: Request) -> Cursor | None:
        given = request.query_params.get("cursor")
        if given is None:
            return None
        try:
            position = urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode("ascii")
        except ValueError as exc:
            raise exceptions.ValidationError({"cursor": self.invalid_cursor_message}) from exc
        return Cursor(offset=0, reverse=False, position=position)

    def get_paginated_response(self, data: list[dict[str, Any]]) -> Response:
        return Response({"data": data, "next_cursor": self.get_next_link()})


class SpeakerListView(TenantView, generics.ListAPIView):
    """GET /v1/speakers"""

    serializer_class = SpeakerSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[Speaker]:
        speakers = Speaker.objects.filter(tenant=self.request.user, deleted_at=None)
        return speakers.prefetch_related("clips")


class KnownFieldsSerializer(serializers.Serializer):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError(dict.fromkeys(unknown, "Unknown field."))
        value: dict[str, Any] = super().to_internal_value(data)
        return value


class ReadySpeakerField(serializers.PrimaryKeyRelatedField):
    def get_queryset(self) -> QuerySet[Speaker]:
        return Speaker.objects.filter(
            tenant=self.context["request"].user, deleted_at=None, status=Speaker.Status.READY
        )


class LineSerializer(KnownFieldsSerializer):
    speaker_id = ReadySpeakerField(source="speaker")
    text = serializers.CharField(max_length=2_000)


class OutputSerializer(KnownFieldsSerializer):
    format = serializers.ChoiceField(LOSSLESS)
    sample_rate = serializers.ChoiceField(FORMATS["wav"].sample_rates)


class SynthesizeSerializer(KnownFieldsSerializer):
    script = LineSerializer(many=True, allow_empty=False, max_length=2_000)
    output = OutputSerializer()
    captions = serializers.ListField(child=serializers.ChoiceField(KINDS), default=KINDS)

    def create(self, validated_data: dict[str, Any]) -> Job:
        script = validated_data["script"]
        key: ApiKey = self.context["request"].auth
        with transaction.atomic():
            self._check_limits(key.tenant, len(script))
            job = Job.objects.create(
                tenant=key.tenant,
                api_key_id=key.pk,
                live=key.live,
                output={
                    **validated_data["output"],
                    "bitrate_kbps": None,
                    "bit_depth": BIT_DEPTHS[0],
                },
                captions=sorted(set(validated_data["captions"]), key=KINDS.index),
                seed=secrets.randbelow(2**31),
                priority=Job.Priority.INTERACTIVE
                if sum(len(line["text"]) for line in script) <= INTERACTIVE_CHARACTERS
                else Job.Priority.BULK,
                origin={"request_id": structlog.contextvars.get_contextvars()["request_id"]},
                lines_total=len(script),
                retention_hours=key.tenant.retention_hours,
            )
            Line.objects.bulk_create(
                Line(
                    tenant=key.tenant,
                    job=job,
                    position=position,
                    line_id=str(position + 1),
                    speaker=line["speaker"],
                    text=line["text"],
                    language=language_of(line["text"], line["speaker"].language),
                    speed=1.0,
                )
                for position, line in enumerate(script)
            )
            transaction.on_commit(
                lambda: celery.send_task(
                    "synthesis.render_job", args=[key.tenant_id, job.pk], queue=QUEUE
                )
            )
        return job

    def _check_limits(self, tenant: Tenant, lines: int) -> None:
        """Raises Throttled. The tenant is locked, so that simultaneous requests are counted."""
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        allowed = allowance_of(tenant.plan)
        active = Job.objects.filter(tenant=tenant, status__in=ACTIVE).aggregate(
            jobs=Count("pk"), lines=Sum(F("lines_total") - F("lines_done"), default=0)
        )
        too_many_lines = active["lines"] and active["lines"] + lines > allowed.lines
        if active["jobs"] >= allowed.jobs or too_many_lines:
            raise exceptions.Throttled


class SynthesizeView(TenantView, generics.CreateAPIView):
    """POST /v1/synthesize"""

    serializer_class = SynthesizeSerializer

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        job = serializer.save()
        shown = JobSerializer(job, context=self.get_serializer_context())
        return Response(shown.data, status=202, headers={"Location": f"/v1/jobs/{job.pk}"})


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("healthz", healthz),
    path("v1/jobs/<str:pk>", JobView.as_view()),
    path("v1/speakers", SpeakerListView.as_view()),
    path("v1/synthesize", SynthesizeView.as_view()),
    path("v1/files/<str:token>/<str:filename>", download, name="file"),
    path("", include("django_prometheus.urls")),  # /metrics
]

application = get_wsgi_application()
