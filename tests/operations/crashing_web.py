"""The web process, dying between the commit of a job and the answer.

    python -m voicereel_site.web_server tests.operations.crashing_web:application

CRASH_FILE: a file; while it exists the process that would answer dies instead.
"""

import os
import signal
from pathlib import Path
from typing import Any

from voicereel_site.wsgi import application  # first: it sets Django up

# isort: split
from synthesis import api

__all__ = ["application"]

_once = api.once


def _once_and_die(*args: Any) -> Any:
    response = _once(*args)
    if Path(os.environ["CRASH_FILE"]).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return response


api.once = _once_and_die  # type: ignore[assignment]
