"""Which workers there are: each says every few seconds that it is there, until it ends."""

import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from synthesis.models import Worker
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

SAID_EVERY_S = 5.0
# Who said nothing for so long is gone, or hangs.
SILENT = timedelta(seconds=20)
_FORGOTTEN = timedelta(hours=1)


class Presence:
    """Says that this process is there, from a thread of its own.

    queues: what it takes tasks of.
    """

    def __init__(self, queues: list[str]) -> None:
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._about = {"queues": sorted(queues), "engine": settings.ENGINE}
        self._since = timezone.now()
        self._done = threading.Event()

    def begin(self) -> None:
        """Say so from now on."""
        threading.Thread(target=self._go_on, name="presence", daemon=True).start()

    def say(self) -> None:
        """Say it once."""
        seen = {**self._about, "started_at": self._since, "seen_at": timezone.now()}
        Worker.objects.update_or_create(pk=self._name, defaults=seen)

    def _go_on(self) -> None:
        while not self._done.is_set():
            self._try(self.say)
            self._done.wait(SAID_EVERY_S)
        self._try(self._leave)
        connection.close()

    def _leave(self) -> None:
        Worker.objects.filter(pk=self._name).delete()

    def _try(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as exc:
            # Whatever it is, the worker goes on being there.
            if outage_of(exc) is None:
                log.exception("worker.not_seen")
            connection.close()

    def end(self) -> None:
        """Say that it is gone."""
        self._done.set()


def forget_workers() -> None:
    """Forget workers that died without a word days ago."""
    Worker.objects.filter(seen_at__lt=timezone.now() - _FORGOTTEN).delete()
