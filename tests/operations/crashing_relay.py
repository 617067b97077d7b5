"""``manage.py relay``, dying before or after it publishes a message, as CRASH_AT says."""

import os
import signal

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from accounts import outbox  # noqa: E402
from accounts.models import OutboxMessage  # noqa: E402

_publish = outbox._publish


def _die(message: OutboxMessage) -> None:
    if os.environ["CRASH_AT"] == "published":
        _publish(message)
    os.kill(os.getpid(), signal.SIGKILL)


outbox._publish = _die
call_command("relay")
