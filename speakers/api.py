"""/v1/speakers"""

import hashlib
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import idempotency
from accounts.idempotency import earlier_reply, fingerprint_of, once
from accounts.outbox import ask_to_delete_files
from accounts.prepared import prepared
from accounts.scopes import Scope
from speakers.decoding import decoded
from speakers.enrollment import Enrollment, enroll_speaker, retire_speaker, store_reference
from speakers.lookup import get_speaker
from speakers.models import Speaker, speaker_folder
from speakers.serializers import (
    RegisterSpeakerRequest,
    SpeakerPage,
    SpeakerResponse,
    UpdateSpeakerRequest,
)
from voicereel_site.errors import FieldError, Refusal
from voicereel_site.pagination import PageQuery, prepared_page

LARGEST_BYTES = 50 * 1024 * 1024  # of all recordings of a speaker
_FORM_BYTES = 256 * 1024  # what the form may add to them


@prepared
def _page_of_speakers(tenant_id: str, limit: int, before: str = "") -> "QuerySet[Speaker]":
    rows = Speaker.objects.for_tenant(tenant_id).present().with_transcript().order_by("-pk")
    return (rows.filter(pk__lt=before) if before else rows)[:limit]


class SpeakerListView(APIView):
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
        _refuse_too_large(request)
        fields = {name: values[0] for name, values in dict(request.data).items()}
        fields["audio"] = request.FILES.getlist("audio")
        body = RegisterSpeakerRequest(data=fields)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        if not asked["consent"]:
            detail = (
                "Set consent to true to confirm that this voice is yours or that its owner agreed "
                "to have it synthesized."
            )
            raise Refusal("consent_required", detail, errors=[FieldError("/consent", detail)])
        files: list[UploadedFile] = asked["audio"]
        fingerprint = fingerprint_of(
            {name: value for name, value in asked.items() if name != "audio"}
            | {"audio": [_sha256(file) for file in files]}
        )
        if reply := earlier_reply(request, "POST /v1/speakers", fingerprint):
            return reply
        tenant = request.auth.tenant
        paths = [Path(file.temporary_file_path()) for file in files]
        with decoded(paths, [file.name for file in files]) as clips:
            reference = store_reference(tenant.pk, clips)
        enrollment = Enrollment(
            asked["name"], asked["language"], asked["transcript"], asked.get("metadata", {})
        )

        def enroll() -> Response:
            speaker = enroll_speaker(request.auth, enrollment, reference)
            headers = {"Location": f"/v1/speakers/{speaker.pk}"}
            return Response(SpeakerResponse(speaker).data, status=201, headers=headers)

        try:
            response = once(request, "POST /v1/speakers", fingerprint, enroll)
        except Exception:
            # A commit whose acknowledgement was lost has made the speaker all the same.
            if not Speaker.objects.for_tenant(tenant).filter(pk=reference.speaker_id).exists():
                ask_to_delete_files(tenant.pk, speaker_folder(tenant.pk, reference.speaker_id))
            raise
        if response.data["id"] != reference.speaker_id:
            # A request with the same key was faster; its recordings are the ones that count.
            ask_to_delete_files(tenant.pk, speaker_folder(tenant.pk, reference.speaker_id))
        return response


class SpeakerView(APIView):
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
        """Change a speaker's name or metadata."""
        speaker = get_speaker(request.auth.tenant, speaker_id)
        body = UpdateSpeakerRequest(data=request.data)
        body.is_valid(raise_exception=True)
        for name, value in body.validated_data.items():
            setattr(speaker, name, value)
        speaker.save(update_fields=list(body.validated_data))
        return Response(SpeakerResponse(speaker).data)

    @extend_schema(operation_id="deleteSpeaker", responses={204: None})
    def delete(self, request: Request, speaker_id: str) -> Response:
        """Erase a speaker and its recordings; queued jobs that need it fail and name it."""
        retire_speaker(get_speaker(request.auth.tenant, speaker_id))
        return Response(status=204)


def _refuse_too_large(request: Request) -> None:
    """Before the body is read, by what the client says; afterwards the files themselves count."""
    detail = f"The recordings may have {LARGEST_BYTES // 1024**2} MB in all. Send FLAC or MP3."
    refusal = Refusal("payload_too_large", detail, 413, [FieldError("/audio", detail)])
    declared = int(request.META.get("CONTENT_LENGTH") or 0)
    if declared > LARGEST_BYTES + _FORM_BYTES:
        raise refusal
    if sum(file.size for file in request.FILES.getlist("audio")) > LARGEST_BYTES:
        raise refusal


def _sha256(file: UploadedFile) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.hexdigest()
