"""granian with our application, ended so that a proxy before it notices nothing.

    python -m voicereel_site.web_server --host 0.0.0.0 --port 8000 --workers 2

SIGTERM ends it in ``DRAIN_S`` and what the requests in hand take; SIGINT at once, when these are done.
"""

import argparse
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from types import FrameType

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from voicereel_site.draining import REFUSE_CONNECTIONS, SAY_GOODBYE

# Longer than the proxy keeps a connection that it does not use (docker/nginx/voicereel.conf).
DRAIN_S = 3.0
# What a process needs to take in the connections that are complete.
_ACCEPT_S = 0.1
# Longer than a proxy waits for an answer: what is still under way then, nobody waits for.
_KILL_AFTER_S = 90


def serve(application: str, host: str, port: int, workers: int) -> None:
    """Serve until a signal. application: ``module:name``; workers: processes, of two threads each."""
    server = Granian(
        application,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=2,
        log_level=LogLevels.warning,
        # A worker that is killed for its memory, say, must not end its neighbour.
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=_KILL_AFTER_S,
    )
    server.on_startup(_drain_before_the_end)
    server.serve()


def _drain_before_the_end() -> None:
    """From here on, SIGTERM lets the workers drain before it does what granian made of it.

    granian ends a worker at once, and with it connections that are idle. A request that is under way on
    one of them is lost: where the proxy cannot know whether it was carried out, a POST say, it may not
    send it to another process (one restart in eleven lost one, under a load of POSTs alone).
    """
    end = signal.getsignal(signal.SIGTERM)
    assert callable(end)
    # Inherited: to a worker that has not come as far as to listen for them they would be the end.
    for number in (SAY_GOODBYE, REFUSE_CONNECTIONS):
        signal.signal(number, signal.SIG_IGN)
    os.register_at_fork(after_in_child=_end_at_once)
    is_draining = threading.Event()

    def drain() -> None:
        _tell_workers(SAY_GOODBYE)
        time.sleep(DRAIN_S)
        _tell_workers(REFUSE_CONNECTIONS)
        time.sleep(_ACCEPT_S)
        end(signal.SIGTERM, None)

    def begin(number: int, frame: FrameType | None) -> None:
        if not is_draining.is_set():
            is_draining.set()
            threading.Thread(target=drain, name="drain", daemon=True).start()

    signal.signal(signal.SIGTERM, begin)


def _end_at_once() -> None:
    """In a worker that does not listen for its end yet, where it has inherited how this process drains."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _tell_workers(number: signal.Signals) -> None:
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(worker.pid, number)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the API and the pages.")
    parser.add_argument("application", nargs="?", default="voicereel_site.wsgi:application")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    given = parser.parse_args()
    serve(given.application, given.host, given.port, given.workers)


if __name__ == "__main__":
    main()
