"""/v1/webhook-endpoints and /v1/webhook-deliveries"""

from collections.abc import Callable

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts import idempotency
from accounts.idempotency import (
    body_fingerprint,
    earlier_reply,
    fingerprint_of,
    once,
    once_with_secrets,
)
from accounts.models import WebhookEndpoint
from accounts.scopes import Scope
from accounts.webhooks.deliveries import get_delivery, list_deliveries, replay
from accounts.webhooks.endpoints import (
    NewSecret,
    check_url,
    create_endpoint,
    delete_endpoint,
    get_endpoint,
    rotate_secret,
    update_endpoint,
)
from accounts.webhooks.serializers import (
    CreateWebhookEndpointRequest,
    NewWebhookEndpointResponse,
    UpdateWebhookEndpointRequest,
    WebhookDeliveryPage,
    WebhookDeliveryResponse,
    WebhookEndpointPage,
    WebhookEndpointResponse,
)
from voicereel_site.answers import Response
from voicereel_site.pagination import PageQuery, page
from voicereel_site.views import ApiView


class WebhookEndpointListView(ApiView):
    """GET and POST /v1/webhook-endpoints"""

    scopes = {"GET": Scope.WEBHOOKS_READ, "POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="listWebhookEndpoints",
        parameters=[PageQuery],
        responses={200: WebhookEndpointPage},
    )
    def get(self, request: Request) -> Response:
        """List your webhook endpoints, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = WebhookEndpoint.objects.for_tenant(request.auth.tenant)
        shown = page(rows, query.validated_data, lambda row: WebhookEndpointResponse(row).data)
        return Response(shown)

    @extend_schema(
        operation_id="createWebhookEndpoint",
        parameters=[idempotency.PARAMETER],
        request=CreateWebhookEndpointRequest,
        responses={201: NewWebhookEndpointResponse},
    )
    def post(self, request: Request) -> Response:
        """Have events told to an address of yours. The secret that signs them is shown this once."""
        route, fingerprint = "POST /v1/webhook-endpoints", body_fingerprint(request)
        if reply := earlier_reply(request, route, fingerprint):
            return reply
        body = CreateWebhookEndpointRequest(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        check_url(asked["url"])
        return _made_once(
            request,
            route,
            201,
            lambda: create_endpoint(
                request.auth.tenant,
                asked["url"],
                description=asked["description"],
                events=asked.get("events"),
            ),
        )


class WebhookEndpointView(ApiView):
    """GET, PATCH and DELETE /v1/webhook-endpoints/{id}"""

    scopes = {
        "GET": Scope.WEBHOOKS_READ,
        "PATCH": Scope.WEBHOOKS_WRITE,
        "DELETE": Scope.WEBHOOKS_WRITE,
    }

    @extend_schema(operation_id="getWebhookEndpoint", responses={200: WebhookEndpointResponse})
    def get(self, request: Request, endpoint_id: str) -> Response:
        """One webhook endpoint, and whether it takes what is sent."""
        row = get_endpoint(request.auth.tenant, endpoint_id)
        return Response(WebhookEndpointResponse(row).data)

    @extend_schema(
        operation_id="updateWebhookEndpoint",
        request=UpdateWebhookEndpointRequest,
        responses={200: WebhookEndpointResponse},
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        """Change a webhook endpoint, or switch it off and on."""
        row = get_endpoint(request.auth.tenant, endpoint_id)
        body = UpdateWebhookEndpointRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(WebhookEndpointResponse(update_endpoint(row, body.validated_data)).data)

    @extend_schema(operation_id="deleteWebhookEndpoint", responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Forget a webhook endpoint and all that was delivered to it."""
        delete_endpoint(get_endpoint(request.auth.tenant, endpoint_id))
        return Response(status=204)


class RotateWebhookSecretView(ApiView):
    """POST /v1/webhook-endpoints/{id}/rotate"""

    scopes = {"POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="rotateWebhookSecret",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={200: NewWebhookEndpointResponse},
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Make a new secret for a webhook endpoint. For a day the old one signs beside it."""
        row = get_endpoint(request.auth.tenant, endpoint_id)
        route = f"POST /v1/webhook-endpoints/{endpoint_id}/rotate"
        return _made_once(request, route, 200, lambda: rotate_secret(row))


class WebhookDeliveryListView(ApiView):
    """GET /v1/webhook-endpoints/{id}/deliveries"""

    scopes = {"GET": Scope.WEBHOOKS_READ}

    @extend_schema(
        operation_id="listWebhookDeliveries",
        parameters=[PageQuery],
        responses={200: WebhookDeliveryPage},
    )
    def get(self, request: Request, endpoint_id: str) -> Response:
        """List what was sent to a webhook endpoint in the last 30 days, newest first."""
        query = PageQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        rows = list_deliveries(get_endpoint(request.auth.tenant, endpoint_id))
        shown = page(rows, query.validated_data, lambda row: WebhookDeliveryResponse(row).data)
        return Response(shown)


class ReplayWebhookDeliveryView(ApiView):
    """POST /v1/webhook-deliveries/{id}/replay"""

    scopes = {"POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="replayWebhookDelivery",
        parameters=[idempotency.PARAMETER],
        request=None,
        responses={202: WebhookDeliveryResponse},
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        """Send a message again, under the same webhook-id."""
        delivery = get_delivery(request.auth.tenant, delivery_id)
        return once(
            request,
            f"POST /v1/webhook-deliveries/{delivery_id}/replay",
            fingerprint_of(None),
            lambda: Response(WebhookDeliveryResponse(replay(delivery)).data, status=202),
        )


def _made_once(
    request: Request, route: str, status: int, make: Callable[[], NewSecret]
) -> Response:
    """The answer with the new secret in it, once."""

    def work() -> tuple[Response, dict[str, str | None]]:
        new = make()
        headers = {"Location": f"/v1/webhook-endpoints/{new.row.pk}"}
        shown = WebhookEndpointResponse(new.row).data
        return Response(shown, status=status, headers=headers), {"secret": new.secret}

    return once_with_secrets(request, route, body_fingerprint(request), work)
