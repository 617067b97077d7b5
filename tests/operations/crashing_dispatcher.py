"""``manage.py dispatch``, dying before or after it publishes a job's message, as CRASH_AT says."""

import os
import signal
from collections.abc import Mapping

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from synthesis import dispatcher  # noqa: E402

_publish = dispatcher.publish_task


def _die(task: str, tenant_id: str, subject: str, origin: Mapping[str, str]) -> None:
    if os.environ["CRASH_AT"] == "published":
        _publish(task, tenant_id, subject, origin)
    os.kill(os.getpid(), signal.SIGKILL)


dispatcher.publish_task = _die
call_command("dispatch")
