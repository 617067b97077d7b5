"""A Celery worker whose tone engine takes its time, as one that speaks does.

    celery -A tests.operations.slow_worker worker

SLOW_LINE_MS: how long it takes for each line; a range such as ``50-2000`` is drawn from by the line's
text. Lines of all jobs are spoken side by side, as on a GPU.
"""

import os
import threading
import zlib
from collections.abc import Iterator, Sequence

import django
from celery.signals import worker_init

from voicereel_site.celery import app

__all__ = ["app"]


def _seconds_for(text: str) -> float:
    shortest, _, longest = os.environ["SLOW_LINE_MS"].partition("-")
    low, high = int(shortest), int(longest or shortest)
    return (low + zlib.crc32(text.encode()) % (high - low + 1)) / 1000


@worker_init.connect
def _slow_down(**_: object) -> None:
    django.setup()
    from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine
    from synthesis.engines.tone import ToneEngine

    speak = ToneEngine.speak

    def slowly(
        self: ToneEngine, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        for line in lines:
            if stopping.wait(_seconds_for(line.text)):
                return
            yield from speak(self, [line], threading.Event())

    ToneEngine.speak = slowly  # type: ignore[method-assign]
