"""What the API's views answer with."""

from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

from django.http.response import ResponseHeaders
from rest_framework import response

from voicereel_site.headers import set_header


class Response(response.Response):
    """DRF's, begun and written without the page of a template that it is underneath: that makes and encodes an
    empty content and its type first, and looks at each header again, which takes as long as reading a job's row
    from PostgreSQL's answer.

    headers: of names and values that are ours, and plain ASCII.
    """

    def __init__(
        self, data: Any = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        # Of HttpResponseBase.
        self.status_code, self.headers, self.cookies = status, ResponseHeaders(None), SimpleCookie()
        self._charset = self._handler_class = self._reason_phrase = None
        self._resource_closers: list[Any] = []
        self.closed = False
        # Of HttpResponse, SimpleTemplateResponse and DRF's.
        self._container = [b""]
        self.template_name = self.context_data = self.using = self._request = None
        self._post_render_callbacks: list[Any] = []
        self._is_rendered = False
        self.data, self.exception, self.content_type = data, False, None
        for name, value in (headers or {}).items():
            set_header(self, name, value)

    @property
    def rendered_content(self) -> bytes:
        """The data in JSON, as all that we answer with."""
        content: bytes = self.accepted_renderer.render(self.data)
        if content:
            set_header(self, "Content-Type", self.accepted_media_type)
        return content
