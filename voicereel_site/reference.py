"""The API's description, for programs: what the project's own checks hold the code against."""

import hashlib
from functools import cache

from django.conf import settings
from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView


@cache
def _document() -> tuple[bytes, str]:
    """The OpenAPI document and its ETag."""
    content = (settings.BASE_DIR / "templates/docs/openapi.json").read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class OpenApiView(APIView):
    """GET /v1/openapi.json, without a key"""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """The OpenAPI 3.1 document of this API."""
        content, etag = _document()
        response = HttpResponse(content, content_type="application/json")
        response["ETag"] = etag
        response["Cache-Control"] = "public, max-age=300"
        return get_conditional_response(request._request, etag=etag, response=response) or response
