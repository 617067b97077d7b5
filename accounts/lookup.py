"""One row of a tenant's by its id, for every route that names one."""

from typing import Any

from django.db.models import QuerySet

from accounts.identifiers import is_id
from voicereel_site.errors import not_found


def find_row(rows: QuerySet, row_id: str, what: str) -> Any:
    """The row with this id among a tenant's.

    Raises not_found, naming ``what`` there is none of: another tenant's looks like none.
    """
    row = None
    if is_id(row_id):  # PostgreSQL refuses to look for some other texts, such as NUL
        row = rows.filter(pk=row_id).first()
    if row is None:
        raise not_found(what)
    return row
