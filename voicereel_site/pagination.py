"""Opaque cursors over lists that are newest first."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.identifiers import is_id
from voicereel_site.errors import FieldError, Refusal
from voicereel_site.shapes import StrictSerializer

Row = TypeVar("Row", bound=Model)


_USUAL, _MOST = 20, 100  # rows of a page


class PageQuery(StrictSerializer):
    """The query parameters of every list."""

    is_json = False
    limit = serializers.IntegerField(min_value=1, max_value=_MOST, default=_USUAL)
    cursor = serializers.CharField(required=False, max_length=200)


def _encode(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        last_id = base64.urlsafe_b64decode(padded).decode("ascii")
    except (binascii.Error, ValueError):
        last_id = ""
    if not is_id(last_id):
        detail = _("This cursor is not one of ours. Start again without a cursor.")
        raise Refusal("validation_error", detail, errors=[FieldError("/cursor", detail)])
    return last_id


def page(
    rows: QuerySet[Row], query: dict[str, Any], shape: Callable[[Row], dict[str, Any]]
) -> dict[str, Any]:
    """One page, newest first, as ``{"data": [...], "next_cursor": ... | null}``.

    Ids are time-ordered, so the id is both the order and the cursor: rows added or removed
    between two pages neither repeat nor hide others.
    """
    return page_of(rows, query, lambda found: [shape(row) for row in found])


def page_of(
    rows: QuerySet[Row],
    query: dict[str, Any],
    shape: Callable[[Sequence[Row]], list[dict[str, Any]]],
) -> dict[str, Any]:
    """As ``page``, of rows that are shaped all together."""
    if cursor := query.get("cursor"):
        rows = rows.filter(pk__lt=_decode(cursor))
    return _page(list(rows.order_by("-pk")[: query["limit"] + 1]), query["limit"], shape)


def prepared_page(
    rows: Callable[..., list[Row]],
    tenant_id: str,
    query: dict[str, Any],
    shape: Callable[[Row], dict[str, Any]],
) -> dict[str, Any]:
    """As ``page``, of rows that were prepared (accounts.prepared).

    rows: takes the tenant's id, how many are wanted, and the id that they come before, if there is one.
    """
    limit: int = query["limit"]
    before = [_decode(query["cursor"])] if query.get("cursor") else []
    # One of two sizes: there is a statement for each.
    most = next(size for size in (_USUAL, _MOST) if limit <= size)
    found = rows(tenant_id, most + 1, *before)[: limit + 1]
    return _page(found, limit, lambda shown: [shape(row) for row in shown])


def _page(
    found: list[Row], limit: int, shape: Callable[[Sequence[Row]], list[dict[str, Any]]]
) -> dict[str, Any]:
    more = len(found) > limit
    found = found[:limit]
    return {
        "data": shape(found),
        "next_cursor": _encode(str(found[-1].pk)) if more else None,
    }
