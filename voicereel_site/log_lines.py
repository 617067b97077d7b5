"""Where our own lines of the log go: to stderr, and to the log file where there is one.

Not by way of ``logging``, as libraries' lines do (settings.LOGGING): there a line takes three times as
long, which is a tenth of what answering a request does.
"""

import logging
import sys
from functools import cache

from django.conf import settings


class LineLogger:
    """What structlog hands rendered lines to."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def info(self, line: str) -> None:
        """Write a line, whatever its level: what is below the lowest does not come here."""
        # In one piece, so that the lines of threads and processes stay whole.
        sys.stderr.write(f"{line}\n")
        if settings.LOG_FILE:
            _file().handle(logging.makeLogRecord({"msg": line}))

    debug = warning = error = critical = info


@cache
def _file() -> logging.Handler:
    from accounts.log_file import ErasableLog

    return ErasableLog(settings.LOG_FILE)
