"""/v1/comparisons"""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import body_fingerprint, earlier_reply, fingerprint_of, once
from accounts.scopes import Scope
from speakers.serializers import SpeakerResponse
from synthesis.comparison.comparisons import (
    Standing,
    choose_winner,
    close_comparison,
    delete_comparison,
    get_comparison,
    link_token,
    list_comparisons,
    refresh,
    standing_of,
    standings_of,
    start_comparison,
)
from synthesis.comparison.serializers import (
    ChooseWinnerRequest,
    ComparisonPage,
    ComparisonResponse,
    CreateComparisonRequest,
    shown_comparison,
)
from synthesis.models import Comparison
from voicereel_site.answers import Response
from voicereel_site.pagination import PageQuery, page_of
from voicereel_site.views import ApiView


def _shown(request: Request, standing: Standing) -> dict[str, Any]:
    path = reverse("listen", args=[link_token(standing.comparison)])
    return shown_comparison(standing, request.build_absolute_uri(path))


class ComparisonListView(ApiView):
    """GET and POST /v1/comparisons"""

    scopes = {"GET": Scope.JOBS_READ, "POST": Scope.JOBS_WRITE}

    @extend_schema(
        operation_id="listComparisons", parameters=[PageQuery], responses={200: ComparisonPage}
    )
    def get(self, request: Request) -> Response:
        """List your comparisons, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        tenant = request.auth.tenant

        def shown(rows: Sequence[Comparison]) -> list[dict[str, Any]]:
            refresh(tenant.pk, rows)
            return [_shown(request, one) for one in standings_of(tenant.pk, rows)]

        return Response(page_of(list_comparisons(tenant), query.validated_data, shown))

    @extend_schema(
        operation_id="createComparison",
        parameters=[idempotency.PARAMETER],
        request=CreateComparisonRequest,
        responses={201: ComparisonResponse},
    )
    def post(self, request: Request) -> Response:
        """Have the same lines spoken by several voices, for listeners who are not told which is which.

        Each variant is rendered by a job, at the price of any job. Once its status is `open`, send
        `listen_url` to your listeners.
        """
        fingerprint = body_fingerprint(request)
        if reply := earlier_reply(request, "POST /v1/comparisons", fingerprint):
            return reply
        body = CreateComparisonRequest(data=request.data)
        body.is_valid(raise_exception=True)

        def start() -> Response:
            comparison = start_comparison(request.auth, body.validated_data)
            headers = {"Location": f"/v1/comparisons/{comparison.pk}"}
            return Response(_shown(request, standing_of(comparison)), status=201, headers=headers)

        return once(request, "POST /v1/comparisons", fingerprint, start)


class ComparisonView(ApiView):
    """GET and DELETE /v1/comparisons/{id}"""

    scopes = {"GET": Scope.JOBS_READ, "DELETE": Scope.JOBS_WRITE}

    @extend_schema(operation_id="getComparison", responses={200: ComparisonResponse})
    def get(self, request: Request, comparison_id: str) -> Response:
        """One comparison, with what its listeners have said so far."""
        return Response(
            _shown(request, standing_of(get_comparison(request.auth.tenant, comparison_id)))
        )

    @extend_schema(operation_id="deleteComparison", responses={204: None})
    def delete(self, request: Request, comparison_id: str) -> Response:
        """Erase a comparison, its votes, and what was rendered for it."""
        delete_comparison(get_comparison(request.auth.tenant, comparison_id))
        return Response(status=204)


class CloseComparisonView(ApiView):
    """POST /v1/comparisons/{id}/close"""

    scopes = {"POST": Scope.JOBS_WRITE}

    @extend_schema(
        operation_id="closeComparison",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={200: ComparisonResponse},
    )
    def post(self, request: Request, comparison_id: str) -> Response:
        """Take no more votes."""
        row = get_comparison(request.auth.tenant, comparison_id)
        return once(
            request,
            f"POST /v1/comparisons/{comparison_id}/close",
            fingerprint_of(None),
            lambda: Response(_shown(request, standing_of(close_comparison(row)))),
        )


class WinnerView(ApiView):
    """POST /v1/comparisons/{id}/winner"""

    scopes = {"POST": Scope.SPEAKERS_WRITE}

    @extend_schema(
        operation_id="chooseWinner",
        parameters=[idempotency.PARAMETER],
        request=ChooseWinnerRequest,
        responses={200: SpeakerResponse},
    )
    def post(self, request: Request, comparison_id: str) -> Response:
        """Have a speaker speak like a variant from now on: with its voice, and as fast."""
        row = get_comparison(request.auth.tenant, comparison_id)
        body = ChooseWinnerRequest(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        speaker_id = asked.get("speaker_id") or standing_of(row).variants[0].speaker_id

        def choose() -> Response:
            speaker = choose_winner(row, asked["position"], speaker_id)
            return Response(SpeakerResponse(speaker).data)

        route = f"POST /v1/comparisons/{comparison_id}/winner"
        return once(request, route, body_fingerprint(request), choose)
