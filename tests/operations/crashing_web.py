"""The web process, dying between the commit of a job and the publishing of its message.

    granian --interface wsgi tests.operations.crashing_web:application

CRASH_FILE: a file; while it exists the process that would publish dies instead.
"""

import os
import signal
from pathlib import Path

from voicereel_site.wsgi import application  # first: it sets Django up

# isort: split
from accounts import outbox
from accounts.models import OutboxMessage

__all__ = ["application"]

_publish = outbox._publish


def _die_or_publish(message: OutboxMessage) -> None:
    if Path(os.environ["CRASH_FILE"]).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    _publish(message)


outbox._publish = _die_or_publish
