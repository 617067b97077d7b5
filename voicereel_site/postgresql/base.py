"""The database backend: Django looks for this module by its name."""

import select
import time
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.models import Field, Model

_TRUSTED_S = 0.05  # after an answer


class SchemaEditor(DatabaseSchemaEditor):
    """Makes one index of a text column, not a second one for LIKE 'abc%'.

    Nobody looks for the beginnings of ids, which most of our columns hold, and each row that is added
    pays for every index: a line of a script for three, an event on an invoice for three.
    """

    def _create_like_index_sql(self, model: type[Model], field: Field) -> None:
        return None


class DatabaseWrapper(base.DatabaseWrapper):
    """Keeps a connection from request to request, and notices when the server has closed it."""

    SchemaEditorClass = SchemaEditor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._looked_at = 0.0

    def is_usable(self) -> bool:
        """Whether the server has said nothing since the last answer.

        A connection that nobody uses is silent: what there is to read is its end, or the notice of it.
        Django asks SELECT 1 instead, with each request: a third of the time that reading a job takes.
        A server that vanished without a word is found by the statement itself, within seconds
        (tcp_user_timeout).
        """
        if self.connection is None or self.connection.closed:
            return False
        now = time.monotonic()
        if now - self._looked_at < _TRUSTED_S:
            return True
        self._looked_at = now
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)
