"""People who mean harm, over HTTP, against the real server: it stays small, quick and polite."""

import io
import itertools
import socket
import struct
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from tests.e2e.human_speech import two_cities
from tests.operations.conftest import MakeSite, Site
from voicereel_site.local_nginx import LocalNginx
from voicereel_site.local_stack import free_port, kill_group

pytestmark = pytest.mark.services

MB = 1024 * 1024
MOST_MEMORY_MB = 300


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLAC of about 7 MB that decodes to 13.8 GB of float32: ten hours of stereo silence."""
    path = tmp_path_factory.mktemp("bomb") / "silence.flac"
    block = np.zeros((44_100 * 60, 2), dtype=np.int16)
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16", format="FLAC") as file:
        for _ in range(10 * 60 * 48_000 // 44_100 + 1):
            file.write(block)
    assert path.stat().st_size < 20 * MB
    with soundfile.SoundFile(path) as file:
        assert file.frames * 2 * 4 > 10_000_000_000
    return path


def wav(seconds: float, subtype: str = "PCM_16", *, spoilt: bool = False) -> bytes:
    samples = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * 16_000))
    if spoilt:
        samples[1000] = np.nan
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype=subtype)
    return buffer.getvalue()


def lying() -> bytes:
    """A header that promises four gigabytes, and two seconds."""
    honest = wav(2)
    return honest[:40] + struct.pack("<I", 0xFFFFFF00) + honest[44:]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.wav", bytes(50 * MB))
    return buffer.getvalue()


PLAYLIST = b"#EXTM3U\n#EXTINF:31,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def post_speaker(site: Site, audio: bytes) -> httpx.Response:
    return httpx.post(
        f"{site.stack.url}/v1/speakers",
        headers={"Authorization": f"Bearer {site.key}"},
        data={"name": "Anna", "language": "en", "consent": "true"},
        files={"audio": ("reference.wav", audio)},
        timeout=60,
    )


def most_memory_mb(site: Site) -> float:
    """The highest peak of any web process."""
    assert site.stack.web is not None
    main = psutil.Process(site.stack.web.pid)
    peaks = []
    for process in [main, *main.children(recursive=True)]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line]
    return max(peaks)


def test_hostile_references(make_site: MakeSite, bomb: Path) -> None:
    site = make_site("embedded")
    # An honest one first: what is timed below is the refusal, not the start of six processes.
    site.client().register_speaker("Anna", two_cities(), consent=True)
    hostile = {
        "a bomb": (bomb.read_bytes(), "audio_too_long"),
        "a lying header": (lying(), "reference_too_short"),
        "ADPCM": (wav(31, "MS_ADPCM"), "audio_format_not_supported"),
        "IMA ADPCM": (wav(31, "IMA_ADPCM"), "audio_format_not_supported"),
        "cut off": (wav(31)[:300_000], "reference_too_short"),
        "no bytes": (b"", "audio_unreadable"),
        "NaN": (wav(31, "FLOAT", spoilt=True), "audio_unreadable"),
        "a zip": (zipped(), "audio_format_not_supported"),
        "a playlist": (PLAYLIST, "audio_format_not_supported"),
        "29.9 s": (wav(29.9), "reference_too_short"),
    }
    for kind, (audio, code) in hostile.items():
        started = time.monotonic()
        reply = post_speaker(site, audio)
        assert time.monotonic() - started < 5, kind
        assert (reply.status_code, reply.json().get("code")) == (422, code), kind
        assert reply.headers["Content-Type"] == "application/problem+json"
    # A minute of silence is a recording; it fails its analysis, and says why.
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(60 * 16_000), 16_000, format="WAV")
    started = time.monotonic()
    made = post_speaker(site, buffer.getvalue()).json()
    path = f"{site.stack.url}/v1/speakers/{made['id']}"
    headers = {"Authorization": f"Bearer {site.key}"}
    while (shown := httpx.get(path, headers=headers).json())["status"] == "processing":
        assert time.monotonic() - started < 5
        time.sleep(0.1)
    assert shown["status"] == "failed"
    assert [reason["code"] for reason in shown["failure_reasons"]] == ["too_little_speech"]

    assert most_memory_mb(site) < MOST_MEMORY_MB
    assert [site.rows("SELECT count(*) FROM speakers_speaker")] == [[(2,)]]
    print(f"highest peak of a web process: {most_memory_mb(site):.0f} MB")


def send_to(port: int, *pieces: bytes, timeout_s: float = 20.0) -> bytes:
    """What the server answers to raw bytes; nothing if it hangs up first."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except OSError:
            # It answered before it had read everything, and closed.
            return b""


def head(site: Site, length: str, *more: str) -> bytes:
    lines = [
        "POST /v1/synthesize HTTP/1.1",
        f"Host: 127.0.0.1:{site.stack.port}",
        f"Authorization: Bearer {site.key}",
        "Content-Type: application/json",
        "Connection: close",
        length,
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunks(total_mb: int) -> Iterator[bytes]:
    yield from itertools.repeat(b"100000\r\n" + b" " * MB + b"\r\n", total_mb)


def test_hostile_requests(make_site: MakeSite) -> None:
    site = make_site("embedded")
    ended = b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 414", b"HTTP/1.1 422", b"HTTP/1.1 431"
    attacks = {
        "400 MB that are announced": [head(site, f"Content-Length: {400 * MB}"), b" " * 8 * MB],
        "400 MB in chunks": [head(site, "Transfer-Encoding: chunked"), *chunks(400)],
        "a header of 1 MB": [head(site, "X-Bomb: " + "x" * MB)],
        "1,000 headers": [head(site, *(f"X-{n}: x" for n in range(1000)))],
        "an address of 100 kB": [b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"],
        "a negative length": [head(site, "Content-Length: -1"), b"{}"],
        "two lengths": [head(site, "Content-Length: 2", "Content-Length: 200"), b"{}"],
        "a length and chunks": [
            head(site, "Content-Length: 2", "Transfer-Encoding: chunked"),
            b"0\r\n\r\n",
        ],
        "a codec that is no charset": [
            f"GET /v1/jobs?a=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {site.key}\r\n"
            "Content-Type: text/plain; charset=hex\r\nConnection: close\r\n\r\n".encode()
        ],
        "less than announced": [head(site, "Content-Length: 5000"), b'{"script": ['],
        "no HTTP at all": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)],
        "a JSON bomb": [head(site, f"Content-Length: {4 * MB}"), b"[" * 4 * MB],
        "a million empty objects": [
            head(site, f"Content-Length: {3 * MB + 12}"),
            b'{"script": [' + b"{}," * MB,
        ],
    }
    for kind, pieces in attacks.items():
        started = time.monotonic()
        answer = send_to(site.stack.port, *pieces)
        assert not answer or answer.startswith(ended), (kind, answer[:200])
        if b"application/problem+json" not in answer:
            # The server's own refusal, of what never became a request of ours.
            assert b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"), (kind, answer[:300])
        assert time.monotonic() - started < 10, kind
        assert httpx.get(f"{site.stack.url}/healthz", timeout=2).status_code == 200, kind
    assert most_memory_mb(site) < MOST_MEMORY_MB
    log = Path(site.stack.log_name).read_text()
    assert "request.failed" not in log
    assert '"status": 500' not in log
    assert site.rows("SELECT count(*) FROM synthesis_job") == [(0,)]
    print(f"highest peak of a web process: {most_memory_mb(site):.0f} MB")


def test_slow_clients_hold_nobody_up(make_site: MakeSite, tmp_path: Path) -> None:
    """Sixty uploads of a byte a second, through the proxy that production has."""
    site = make_site("embedded")
    proxy = LocalNginx(tmp_path / "nginx", free_port(), site.stack.port)
    with proxy, ExitStack() as open_sockets:
        slow = [
            open_sockets.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
            for _ in range(60)
        ]
        for connection in slow:
            connection.sendall(head(site, "Content-Length: 100000"))
        waits = []
        for _ in range(20):
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b" ")
            started = time.monotonic()
            reply = httpx.get(
                f"{proxy.url}/v1/jobs", headers={"Authorization": f"Bearer {site.key}"}
            )
            assert reply.status_code == 200
            waits.append(time.monotonic() - started)
            time.sleep(0.5)
        assert max(waits) < 1
        # Silent ones are hung up on.
        slow[0].settimeout(30)
        assert slow[0].recv(1000) == b""
        # What the proxy refuses itself is a problem document as well.
        answer = send_to(proxy.port, head(site, f"Content-Length: {60 * MB}"), b" ")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"code":"payload_too_large"' in answer
        hidden = httpx.get(f"{proxy.url}/readyz")
        assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
        assert site.stack.web is not None
        kill_group(site.stack.web)
        reply = httpx.get(f"{proxy.url}/v1/jobs")
        assert reply.status_code == 503
        assert reply.headers["Retry-After"] == "10"
        assert reply.json()["code"] == "service_unavailable"


def test_a_recording_never_reaches_a_shell_or_another_file(make_site: MakeSite) -> None:
    """What ffmpeg would open if it were let: every demuxer but those we name is out of reach."""
    site = make_site("embedded")
    canary = Path(site.settings["VOICEREEL_VAR"]) / "canary.wav"
    canary.write_bytes(wav(40))
    for body in (
        f"ffconcat version 1.0\nfile '{canary}'\n".encode(),
        f"#EXTM3U\n#EXTINF:40,\n{canary}\n#EXT-X-ENDLIST\n".encode(),
        f"RIFF\0\0\0\0WAVEfile:{canary}".encode(),
        b"ID3\x04" + f"concat:{canary}|{canary}".encode(),
    ):
        reply = post_speaker(site, body)
        assert reply.status_code == 422
        assert reply.json()["code"] in {"audio_format_not_supported", "audio_unreadable"}
    assert subprocess.run(["pgrep", "-f", "decoder_child"], check=False).returncode == 1
