"""/v1/speakers"""

import hashlib

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import earlier_reply, fingerprint_of, once
from accounts.prepared import prepared
from accounts.scopes import Scope
from speakers.enrollment import enroll_speaker, retire_speaker, speak_as
from speakers.lookup import get_speaker
from speakers.models import Speaker
from speakers.registration import (
    checked_registration,
    enrollment_of,
    forget_recordings,
    kept_recordings,
    refuse_too_large,
    stored_recordings,
)
from speakers.serializers import (
    RegisterSpeakerRequest,
    SpeakerPage,
    SpeakerResponse,
    UpdateSpeakerRequest,
)
from voicereel_site.answers import Response
from voicereel_site.pagination import PageQuery, prepared_page
from voicereel_site.views import ApiView


@prepared
def _page_of_speakers(tenant_id: str, limit: int, before: str = "") -> "QuerySet[Speaker]":
    rows = Speaker.objects.for_tenant(tenant_id).present().with_transcript().order_by("-pk")
    return (rows.filter(pk__lt=before) if before else rows)[:limit]


class SpeakerListView(ApiView):
    """GET and POST /v1/speakers"""

    scopes = {"GET": Scope.SPEAKERS_READ, "POST": Scope.SPEAKERS_WRITE}
    parser_classes = [MultiPartParser]

    @extend_schema(
        operation_id="listSpeakers", parameters=[PageQuery], responses={200: SpeakerPage}
    )
    def get(self, request: Request) -> Response:
        """List your speakers (voices), newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        shape = SpeakerResponse().to_representation
        tenant_id = request.auth.tenant.pk
        return Response(prepared_page(_page_of_speakers, tenant_id, query.validated_data, shape))

    @extend_schema(
        operation_id="registerSpeaker",
        parameters=[idempotency.PARAMETER],
        request={"multipart/form-data": RegisterSpeakerRequest},
        responses={201: SpeakerResponse},
    )
    def post(self, request: Request) -> Response:
        """Register a speaker (voice) from 30 s to 10 min of reference audio."""
        refuse_too_large(int(request.META.get("CONTENT_LENGTH") or 0))
        fields = {name: values[0] for name, values in dict(request.data).items()}
        asked = checked_registration(fields, request.FILES.getlist("audio"))
        files: list[UploadedFile] = asked["audio"]
        fingerprint = fingerprint_of(
            {name: value for name, value in asked.items() if name != "audio"}
            | {"audio": [_sha256(file) for file in files]}
        )
        if reply := earlier_reply(request, "POST /v1/speakers", fingerprint):
            return reply
        tenant = request.auth.tenant
        reference = stored_recordings(tenant.pk, files)
        enrollment = enrollment_of(asked)

        def enroll() -> Response:
            speaker = enroll_speaker(request.auth, enrollment, reference)
            headers = {"Location": f"/v1/speakers/{speaker.pk}"}
            return Response(SpeakerResponse(speaker).data, status=201, headers=headers)

        with kept_recordings(tenant, reference):
            response = once(request, "POST /v1/speakers", fingerprint, enroll)
        if response.data["id"] != reference.speaker_id:
            # A request with the same key was faster; its recordings are the ones that count.
            forget_recordings(tenant, reference)
        return response


class SpeakerView(ApiView):
    """GET, PATCH and DELETE /v1/speakers/{id}"""

    scopes = {
        "GET": Scope.SPEAKERS_READ,
        "PATCH": Scope.SPEAKERS_WRITE,
        "DELETE": Scope.SPEAKERS_WRITE,
    }

    @extend_schema(operation_id="getSpeaker", responses={200: SpeakerResponse})
    def get(self, request: Request, speaker_id: str) -> Response:
        """One speaker; poll it until its status is ready or failed."""
        return Response(SpeakerResponse(get_speaker(request.auth.tenant, speaker_id)).data)

    @extend_schema(
        operation_id="updateSpeaker",
        request=UpdateSpeakerRequest,
        responses={200: SpeakerResponse},
    )
    def patch(self, request: Request, speaker_id: str) -> Response:
        """Change a speaker's name or metadata, how fast it speaks, or with whose voice."""
        speaker = get_speaker(request.auth.tenant, speaker_id)
        body = UpdateSpeakerRequest(data=request.data)
        body.is_valid(raise_exception=True)
        changes = dict(body.validated_data)
        with transaction.atomic():
            if "speaks_as" in changes:
                speak_as(speaker, changes.pop("speaks_as"), "/speaks_as")
            for name, value in changes.items():
                setattr(speaker, name, value)
            speaker.save(update_fields=list(changes))
        return Response(SpeakerResponse(speaker).data)

    @extend_schema(operation_id="deleteSpeaker", responses={204: None})
    def delete(self, request: Request, speaker_id: str) -> Response:
        """Erase a speaker and its recordings; queued jobs that need it fail and name it."""
        retire_speaker(get_speaker(request.auth.tenant, speaker_id))
        return Response(status=204)


def _sha256(file: UploadedFile) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()
