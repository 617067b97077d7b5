"""What the API's views answer with."""

from collections.abc import Mapping
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework import response


class Response(response.Response):
    """DRF's, begun without the page of a template that it is underneath: that makes and encodes an empty content
    first, which takes as long as reading a job's row from PostgreSQL's answer.
    """

    def __init__(
        self, data: Any = None, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        HttpResponseBase.__init__(self, status=status, headers=headers)
        # Of HttpResponse, SimpleTemplateResponse and DRF's.
        self._container = [b""]
        self.template_name = self.context_data = self.using = self._request = None
        self._post_render_callbacks: list[Any] = []
        self._is_rendered = False
        self.data, self.exception, self.content_type = data, False, None
