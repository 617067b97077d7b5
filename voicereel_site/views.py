"""What the API's views have in common."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, cast

from rest_framework.views import APIView


class ApiView(APIView):
    """DRF's, which makes parsers, authenticators and permissions anew for each request. Ours keep nothing of one:
    they are made once.
    """

    def get_parsers(self) -> list[Any]:
        return _made(tuple(self.parser_classes))

    def get_authenticators(self) -> list[Any]:
        return _made(tuple(self.authentication_classes))

    def get_permissions(self) -> list[Any]:
        return _made(tuple(self.permission_classes))

    def get_renderers(self) -> list[Any]:
        return _made(tuple(self.renderer_classes))

    def get_content_negotiator(self) -> Any:
        return _made((self.content_negotiation_class,))[0]

    def _allowed_methods(self) -> list[str]:
        return list(_allowed_by(cast(Hashable, type(self))))


@cache
def _made(classes: Sequence[Callable[[], Any]]) -> list[Any]:
    return [make() for make in classes]


@cache
def _allowed_by(view: Any) -> list[str]:
    return [method.upper() for method in view.http_method_names if hasattr(view, method)]
