from collections.abc import Iterator

import pytest
from voicereel import Client

from .scripted_server import ScriptedServer, scripted_server

KEY = "vr_secret_key_1234567890"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with scripted_server() as running:
        monkeypatch.setenv("VOICEREEL_URL", running.url)
        monkeypatch.setenv("VOICEREEL_API_KEY", KEY)
        yield running


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(timeout_s=5, max_retries=3, backoff_s=0.001) as connected:
        yield connected
