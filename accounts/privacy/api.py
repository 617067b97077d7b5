"""/v1/exports, /v1/erasures"""

from typing import Any

from django.core.files.storage import default_storage
from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import body_fingerprint, fingerprint_of, once
from accounts.models import DataExport, Erasure
from accounts.privacy.erasures import get_erasure, open_proof, request_tenant_erasure
from accounts.privacy.exports import (
    archive_name,
    get_export,
    open_archive_link,
    request_export,
)
from accounts.privacy.serializers import (
    EraseAccountRequest,
    ErasurePage,
    ErasureResponse,
    ExportPage,
    ExportResponse,
)
from accounts.scopes import Scope
from voicereel_site.answers import Response
from voicereel_site.errors import method_not_allowed, problem_response
from voicereel_site.pagination import PageQuery, page
from voicereel_site.views import ApiView


class ExportListView(ApiView):
    """GET and POST /v1/exports"""

    scopes = {"GET": Scope.ACCOUNT_EXPORT, "POST": Scope.ACCOUNT_EXPORT}

    @extend_schema(operation_id="listExports", parameters=[PageQuery], responses={200: ExportPage})
    def get(self, request: Request) -> Response:
        """List your exports, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = DataExport.objects.for_tenant(request.auth.tenant)
        return Response(page(rows, query.validated_data, lambda row: _shown(request, row)))

    @extend_schema(
        operation_id="createExport",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={202: ExportResponse},
    )
    def post(self, request: Request) -> Response:
        """Have everything of yours put into one archive. Poll it until its status is succeeded."""

        def work() -> Response:
            row = request_export(request.auth.tenant)
            headers = {"Location": f"/v1/exports/{row.pk}"}
            return Response(_shown(request, row), status=202, headers=headers)

        return once(request, "POST /v1/exports", fingerprint_of(None), work)


class ExportView(ApiView):
    """GET /v1/exports/{id}"""

    scopes = {"GET": Scope.ACCOUNT_EXPORT}

    @extend_schema(operation_id="getExport", responses={200: ExportResponse})
    def get(self, request: Request, export_id: str) -> Response:
        """One export: how far it is, and a link to the archive, a ZIP file, that lives 15 minutes."""
        row = get_export(request.auth.tenant, export_id)
        return Response(_shown(request, row))


def _shown(request: Request, row: DataExport) -> dict[str, Any]:
    shape: dict[str, Any] = ExportResponse(row, context={"request": request}).data
    return shape


def download_archive(request: HttpRequest, token: str, filename: str) -> HttpResponseBase:
    """The archive behind a link. The link itself is the permission; it needs no key."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    row = open_archive_link(token)
    if row is None:
        detail = _("This link is not whole or has expired. GET the export again for a fresh one.")
        return problem_response(403, "invalid_signature", detail)
    try:
        file = default_storage.open(row.archive_key, "rb")
    except FileNotFoundError:
        detail = _("The archive behind this link was deleted.")
        return problem_response(404, "not_found", detail)
    return FileResponse(
        file,
        as_attachment=True,
        filename=archive_name(row),
        content_type="application/zip",
        headers={"Cache-Control": "private, no-store"},
    )


class ErasureListView(ApiView):
    """GET and POST /v1/erasures"""

    scopes = {"GET": Scope.AUDIT_READ, "POST": Scope.ACCOUNT_ERASE}

    @extend_schema(
        operation_id="listErasures", parameters=[PageQuery], responses={200: ErasurePage}
    )
    def get(self, request: Request) -> Response:
        """List what was erased for good, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = Erasure.objects.for_tenant(request.auth.tenant)
        context = {"request": request}
        return Response(
            page(rows, query.validated_data, lambda row: ErasureResponse(row, context=context).data)
        )

    @extend_schema(
        operation_id="eraseAccount",
        parameters=[idempotency.PARAMETER],
        request=EraseAccountRequest,
        responses={202: ErasureResponse},
    )
    def post(self, request: Request) -> Response:
        """Erase your whole account for good. Every key and member is shut out at once.

        Speakers, jobs, files, keys, people who belong to no other account, this log: all of it goes
        within minutes. Keep the answer's `proof_url`: it says what went, and opens without a key.
        """
        body = EraseAccountRequest(data=request.data)
        body.is_valid(raise_exception=True)

        def work() -> Response:
            row = request_tenant_erasure(request.auth, body.validated_data["confirm"])
            return Response(ErasureResponse(row, context={"request": request}).data, status=202)

        return once(request, "POST /v1/erasures", body_fingerprint(request), work)


class ErasureView(ApiView):
    """GET /v1/erasures/{id}"""

    scopes = {"GET": Scope.AUDIT_READ}

    @extend_schema(operation_id="getErasure", responses={200: ErasureResponse})
    def get(self, request: Request, erasure_id: str) -> Response:
        """One erasure; once its status is erased it is the proof."""
        row = get_erasure(request.auth.tenant, erasure_id)
        return Response(ErasureResponse(row, context={"request": request}).data)


class ErasureProofView(ApiView):
    """GET /v1/erasure-proofs/{token}, without a key: the account may be gone"""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request, token: str) -> Response:
        """The proof of an erasure, to whoever has its link."""
        return Response(ErasureResponse(open_proof(token), context={"request": request}).data)
