"""``manage.py relay``: the one process that publishes the outbox."""

import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import close_old_connections, connection

from accounts import outbox
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

_EVERY_S = 0.5
_AFTER_A_FAILURE_S = 2.0


class Command(BaseCommand):
    help = "Publish what must leave the database, until it is stopped. A second one does no harm."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, for operators")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            self.stdout.write(f"{outbox.relay()} messages went out")
            return
        stopping = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        while not stopping.wait(_EVERY_S):
            close_old_connections()
            try:
                # What is still due after a full round need not wait for the next.
                while outbox.relay() and not stopping.is_set():
                    pass
            except Exception as exc:
                # Whatever it is, it must not be the end of the only one who publishes.
                what = outage_of(exc)
                log.error("relay.failed", outage=what, exc_info=None if what else exc)
                connection.close()
                stopping.wait(_AFTER_A_FAILURE_S)
