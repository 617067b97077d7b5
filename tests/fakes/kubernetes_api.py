"""As much of a Kubernetes API as Helm asks before it says what it would do: a version, and its releases.

No cluster can run on a developer's machine here. Helm itself is real; what it renders is judged by Kubernetes' own
schemas elsewhere (tests/deployment/test_chart.py).
"""

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class KubernetesApi:
    """Answers on loopback while the block runs."""

    def __init__(self) -> None:
        self._releases: list[dict[str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = api.answer(self.path)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def remember(self, name: str, *descriptions: str) -> None:
        """Let a release have been deployed so often, the last time successfully. As Helm keeps them:
        a Secret each, with JSON that is compressed and encoded twice.
        """
        self._releases = []
        for number, description in enumerate(descriptions, start=1):
            status = "deployed" if number == len(descriptions) else "superseded"
            release = {
                "name": name,
                "namespace": name,
                "version": number,
                "info": {"status": status, "description": description},
                "chart": {"metadata": {"name": name, "version": "1.0.0", "apiVersion": "v2"}},
                "manifest": "",
            }
            packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
            self._releases.append(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {
                        "name": f"sh.helm.release.v1.{name}.v{number}",
                        "labels": {
                            "owner": "helm",
                            "name": name,
                            "status": status,
                            "version": str(number),
                        },
                    },
                    "data": {"release": base64.b64encode(packed).decode()},
                }
            )

    def answer(self, target: str) -> tuple[int, dict[str, Any]]:
        """Status and body for a path with its query."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == "/version":
            return 200, {"major": "1", "minor": "35", "gitVersion": "v1.35.2"}
        if path.endswith("/secrets"):
            wanted = dict(part.split("=") for part in query["labelSelector"][0].split(","))
            found = [
                one for one in self._releases if wanted.items() <= one["metadata"]["labels"].items()
            ]
            return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": found}
        for one in self._releases:
            if path.endswith(f"/secrets/{one['metadata']['name']}"):
                return 200, one
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
