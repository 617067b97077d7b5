"""/v1/synthesize, /v1/jobs and /v1/pronunciations"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import body_fingerprint, earlier_reply, fingerprint_of, once
from accounts.privacy.serializers import EraseSpeakerRequest, ErasureResponse
from accounts.scopes import Scope
from speakers.lookup import get_speaker
from synthesis.erasure import request_speaker_erasure
from synthesis.models import Job
from synthesis.pronunciations import list_pronunciations, replace_pronunciations
from synthesis.serializers import (
    JobPage,
    JobQuery,
    JobResponse,
    PreviewResponse,
    PronunciationDictionary,
    ReplacePronunciationsRequest,
    SynthesizeQuery,
    SynthesizeRequest,
    shown_job,
)
from synthesis.submission import (
    cancel_job,
    delete_job,
    get_job,
    get_job_to_show,
    preview_job,
    retry_job,
    submit_job,
)
from voicereel_site.answers import Response
from voicereel_site.pagination import page
from voicereel_site.views import ApiView


def _shown(request: Request, job: Job) -> dict[str, Any]:
    asked = request._request
    return shown_job(job, f"{asked.scheme}://{asked.get_host()}")


class SynthesizeView(ApiView):
    """POST /v1/synthesize"""

    scopes = {"POST": Scope.JOBS_WRITE}

    @extend_schema(
        operation_id="synthesize",
        parameters=[idempotency.PARAMETER, SynthesizeQuery],
        request=SynthesizeRequest,
        responses={202: JobResponse, 200: PreviewResponse},
    )
    def post(self, request: Request) -> Response:
        """Turn a script into one audio file and captions. Poll the job that is answered.

        With `dry_run=true` nothing is made: the answer, a 200, says what is wrong, how long the audio
        will be, and what it costs at most.
        """
        if request.META["QUERY_STRING"]:
            query = SynthesizeQuery(data=request.query_params.dict())
            query.is_valid(raise_exception=True)
            if query.validated_data["dry_run"]:
                return self._preview(request)
        fingerprint = body_fingerprint(request)
        if reply := earlier_reply(request, "POST /v1/synthesize", fingerprint):
            return reply
        body = SynthesizeRequest(data=request.data)
        body.is_valid(raise_exception=True)

        def submit() -> Response:
            job = submit_job(request.auth, body.validated_data)
            headers = {"Location": f"/v1/jobs/{job.pk}"}
            return Response(_shown(request, job), status=202, headers=headers)

        return once(request, "POST /v1/synthesize", fingerprint, submit)

    def _preview(self, request: Request) -> Response:
        body = SynthesizeRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(PreviewResponse(preview_job(request.auth, body.validated_data)).data)


class JobListView(ApiView):
    """GET /v1/jobs"""

    scopes = {"GET": Scope.JOBS_READ}

    @extend_schema(operation_id="listJobs", parameters=[JobQuery], responses={200: JobPage})
    def get(self, request: Request) -> Response:
        """List your jobs, newest first."""
        query = JobQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = Job.objects.for_tenant(request.auth.tenant)
        if status := query.validated_data.get("status"):
            rows = rows.filter(status=status)

        def shown(job: Job) -> dict[str, Any]:
            job.tenant = request.auth.tenant
            return _shown(request, job)

        return Response(page(rows, query.validated_data, shown))


class JobView(ApiView):
    """GET and DELETE /v1/jobs/{id}"""

    scopes = {"GET": Scope.JOBS_READ, "DELETE": Scope.JOBS_WRITE}

    @extend_schema(operation_id="getJob", responses={200: JobResponse})
    def get(self, request: Request, job_id: str) -> Response:
        """One job, with fresh links once it has succeeded."""
        job = get_job_to_show(request.auth.tenant, job_id)
        return Response(_shown(request, job), headers={"Cache-Control": "no-store"})

    @extend_schema(operation_id="deleteJob", responses={204: None})
    def delete(self, request: Request, job_id: str) -> Response:
        """Cancel a job if it runs, and erase it and every file of it."""
        delete_job(get_job(request.auth.tenant, job_id))
        return Response(status=204)


class CancelJobView(ApiView):
    """POST /v1/jobs/{id}/cancel"""

    scopes = {"POST": Scope.JOBS_WRITE}

    @extend_schema(
        operation_id="cancelJob",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={200: JobResponse},
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Stop a job. Lines that were spoken are kept, so that a retry can go on from them."""
        route = f"POST /v1/jobs/{job_id}/cancel"
        job = get_job(request.auth.tenant, job_id)
        return once(
            request,
            route,
            fingerprint_of(None),
            lambda: Response(_shown(request, cancel_job(job))),
        )


class RetryJobView(ApiView):
    """POST /v1/jobs/{id}/retry"""

    scopes = {"POST": Scope.JOBS_WRITE}

    @extend_schema(
        operation_id="retryJob",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={202: JobResponse},
    )
    def post(self, request: Request, job_id: str) -> Response:
        """Queue a failed or canceled job again. Only lines that are missing are spoken."""
        route = f"POST /v1/jobs/{job_id}/retry"
        job = get_job(request.auth.tenant, job_id)
        return once(
            request,
            route,
            fingerprint_of(None),
            lambda: Response(_shown(request, retry_job(job)), status=202),
        )


class PronunciationsView(ApiView):
    """GET and PUT /v1/pronunciations"""

    scopes = {"GET": Scope.PRONUNCIATIONS_READ, "PUT": Scope.PRONUNCIATIONS_WRITE}

    @extend_schema(operation_id="getPronunciations", responses={200: PronunciationDictionary})
    def get(self, request: Request) -> Response:
        """Your pronunciation dictionary: how words of yours are spoken, by language."""
        entries = list_pronunciations(request.auth.tenant)
        return Response(PronunciationDictionary({"entries": entries}).data)

    @extend_schema(
        operation_id="replacePronunciations",
        request=ReplacePronunciationsRequest,
        responses={200: PronunciationDictionary},
    )
    def put(self, request: Request) -> Response:
        """Replace your whole pronunciation dictionary, or nothing of it if an entry is refused."""
        body = ReplacePronunciationsRequest(data=request.data)
        body.is_valid(raise_exception=True)
        entries = replace_pronunciations(request.auth.tenant, body.validated_data["entries"])
        return Response(PronunciationDictionary({"entries": entries}).data)


class EraseSpeakerView(ApiView):
    """POST /v1/speakers/{id}/erase"""

    scopes = {"POST": Scope.SPEAKERS_ERASE}

    @extend_schema(
        operation_id="eraseSpeaker",
        parameters=[idempotency.PARAMETER],
        request=EraseSpeakerRequest,
        responses={202: ErasureResponse},
    )
    def post(self, request: Request, speaker_id: str) -> Response:
        """Erase a speaker for good, with every job that has its voice, and get a proof of it.

        The voice is withdrawn at once. Deleting a speaker, in contrast, leaves finished jobs.
        """
        speaker = get_speaker(request.auth.tenant, speaker_id)
        body = EraseSpeakerRequest(data=request.data)
        body.is_valid(raise_exception=True)

        def work() -> Response:
            row = request_speaker_erasure(request.auth, speaker, body.validated_data["confirm"])
            return Response(ErasureResponse(row, context={"request": request}).data, status=202)

        route = f"POST /v1/speakers/{speaker_id}/erase"
        return once(request, route, body_fingerprint(request), work)
