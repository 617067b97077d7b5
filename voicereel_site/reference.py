"""The API's description: for programs, and as a page for people."""

import hashlib
from functools import cache
from pathlib import Path

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from voicereel_site.errors import method_not_allowed


@cache
def _file(path: Path) -> tuple[bytes, str]:
    """A file's content and its ETag."""
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _served(request: HttpRequest, path: Path, content_type: str) -> HttpResponseBase:
    content, etag = _file(path)
    response = HttpResponse(content, content_type=content_type)
    response["ETag"] = etag
    response["Cache-Control"] = "public, max-age=300"
    answer: HttpResponseBase = get_conditional_response(request, etag=etag, response=response)
    return answer or response


class OpenApiView(APIView):
    """GET /v1/openapi.json, without a key"""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponseBase:
        """The OpenAPI 3.1 document of this API."""
        path = settings.BASE_DIR / "templates/docs/openapi.json"
        return _served(request._request, path, "application/json")


# Redoc writes its styles into the page and searches in a worker that it makes of text.
@csp_update({"style-src": ["'unsafe-inline'"], "worker-src": ["blob:"]})
def reference_page(request: HttpRequest) -> HttpResponseBase:
    """The guides and every operation, to read."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    return render(request, "docs/reference.html")


def redoc(request: HttpRequest) -> HttpResponseBase:
    """The script that draws the page out of the OpenAPI document."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    name = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
    return _served(request, Path(str(finders.find(name))), "text/javascript")
