"""What a process does round by round until it is asked to end: the relay, the dispatcher."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog
from django.db import close_old_connections, connection

from voicereel_site import inner_port, regions
from voicereel_site.metrics import OUTAGES
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

_AFTER_A_FAILURE_S = 2.0


def run_rounds(name: str, one_round: Callable[[], int], *, busy_s: float, idle_s: float) -> None:
    """Do round after round until SIGTERM or SIGINT.

    one_round: returns how much it did; the next one follows ``busy_s`` after one that did something,
    else ``idle_s``. name: what the log calls a failure, ``relay`` say.
    """
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    regions.require_own_region()
    inner_port.begin()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    wait_s = 0.0
    while not stopping.wait(wait_s):
        close_old_connections()
        try:
            wait_s = busy_s if one_round() else idle_s
        except Exception as exc:
            # Whatever it is, it must not be the end of the only one who does this.
            what = outage_of(exc)
            log.error(f"{name}.failed", outage=what, exc_info=None if what else exc)
            if what:
                OUTAGES.labels(what).inc()
            connection.close()
            wait_s = _AFTER_A_FAILURE_S
