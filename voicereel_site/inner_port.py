"""A port of each process for whoever looks after it: ``/metrics``, ``/readyz``, ``/healthz``.

It is for the inner network: nobody is asked who he is. Web processes of one machine share a port, and
whichever of them answers adds up the metrics of all, of those too that have ended since (prometheus_client's
multiprocess mode). Other processes have a port each.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_SHARED = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics() -> None:
    """Add this process's metrics to those of its neighbours on the same port.

    To be called before anything imports prometheus_client, which looks at its variable then. What is left of
    an earlier run is forgotten, as soon as none of its processes is there any more.
    """
    folder = settings.VAR_DIR / "metrics" / str(settings.METRICS_PORT)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files = list(folder.glob("*.db"))
        if not any(map(_is_of_a_running_process, files)):
            for file in files:
                file.unlink()
    os.environ[_SHARED] = str(folder)


def _is_of_a_running_process(file: Path) -> bool:
    pid = int(file.stem.rpartition("_")[2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and there
    return True


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The processes of one web server listen together, and the kernel gives a request to one of them.
        # Others must not: each would be seen now and then.
        self.allow_reuse_port = _SHARED in os.environ
        super().server_bind()


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds; of one who connects and says nothing

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: it is asked several times a minute."""


def begin() -> None:
    """Answer on VOICEREEL_METRICS_PORT from a thread of its own, if there is one.

    Raises ImproperlyConfigured if the port is taken.
    """
    port = settings.METRICS_PORT
    if not port:
        return
    try:
        server = make_server("", port, _application(), _Server, _Handler)
    except OSError as exc:
        raise ImproperlyConfigured(f"VOICEREEL_METRICS_PORT={port}: {exc.strerror}.") from exc
    threading.Thread(target=server.serve_forever, name="inner-port", daemon=True).start()


def _application() -> Callable[..., Iterable[bytes]]:
    from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
    from prometheus_client.multiprocess import MultiProcessCollector

    from voicereel_site import outages

    registry = REGISTRY
    if _SHARED in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path not in ("/readyz", "/healthz"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics, /readyz, /healthz\n"]
        states = outages.check_all() if path == "/readyz" else {}
        is_ready = all(state == "ok" for state in states.values())
        status = "200 OK" if is_ready else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [orjson.dumps({"status": "ok" if is_ready else "unavailable", "checks": states})]

    return answer
