"""Moving big files: uploads that report progress, downloads that resume after a cut."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import httpx

from .errors import (
    ApiError,
    BadResponse,
    ConnectionFailed,
    DownloadCorrupt,
    VoiceReelError,
    error_from_response,
)
from .retry import RETRIED_STATUSES, RetryPolicy

OnBytes = Callable[[int, int], None]
"""Called with (bytes done, bytes in all); starts again lower when an attempt is repeated."""

CHUNK_BYTES = 64 * 1024
RETRIES_REFILLED_AFTER_BYTES = 1024 * 1024
_LINK_REFUSED = frozenset({401, 403, 404, 410})
_RANGE_REFUSED = 416


class LinkedFile(Protocol):
    """A file behind a link, and what its bytes have to be."""

    @property
    def url(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class CountedStream(httpx.SyncByteStream):
    """A request body that tells how much of it has been sent."""

    def __init__(self, body: httpx.SyncByteStream, total_bytes: int, on_progress: OnBytes) -> None:
        self.body = body
        self._total_bytes = total_bytes
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for chunk in self.body:
            yield chunk
            sent += len(chunk)
            self._on_progress(sent, self._total_bytes)

    def close(self) -> None:
        self.body.close()


class PartFile:
    """The unfinished download `PATH.part`, with the ETag of its bytes in `PATH.part.etag`.

    The ETag lets a later run resume: a server whose file has changed ignores the range.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._data = target.with_name(target.name + ".part")
        self._etag = target.with_name(target.name + ".part.etag")

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._data.stat().st_size if self._data.exists() else 0

    @property
    def etag(self) -> str | None:
        """What the bytes received belong to; None if they cannot be resumed."""
        if not self._etag.exists():
            return None
        return _strong_etag(self._etag.read_text("ascii", errors="replace"))

    def restart(self, etag: str | None) -> None:
        """Empty the file; the bytes to come belong to `etag` (None: they cannot be resumed)."""
        self._data.write_bytes(b"")
        if etag is None:
            self._etag.unlink(missing_ok=True)
        else:
            self._etag.write_text(etag, "ascii")

    def append(self, chunks: Iterator[bytes], total_bytes: int, on_progress: OnBytes) -> None:
        """Write `chunks` at the end; stops early if they are more than `total_bytes` in all."""
        size = self.size
        with self._data.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
                if size > total_bytes:
                    return
                on_progress(size, total_bytes)

    def holds(self, audio: LinkedFile) -> bool:
        """Whether the file is exactly `audio`, by size and SHA-256."""
        if self.size != audio.size_bytes:
            return False
        digest = hashlib.sha256()
        with self._data.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest() == audio.sha256.lower()

    def publish(self) -> None:
        """Put the finished file in its place, all at once."""
        with self._data.open("rb+") as file:
            os.fsync(file.fileno())
        self._data.replace(self._target)
        self._etag.unlink(missing_ok=True)

    def discard(self) -> None:
        self._data.unlink(missing_ok=True)
        self._etag.unlink(missing_ok=True)


def download(
    http: httpx.Client,
    fresh_link: Callable[[], LinkedFile],
    target: Path,
    retry: RetryPolicy,
    on_progress: OnBytes,
) -> None:
    """Fetch the file that `fresh_link()` points to into `target`, resuming what is there.

    Raises DownloadCorrupt, and leaves `target` as it was, if the bytes are not those stated.
    """
    part = PartFile(target)
    was_begun_earlier = part.size > 0
    audio = _fill(http, fresh_link, part, retry, on_progress)
    if was_begun_earlier and not part.holds(audio):
        part.restart(None)
        audio = _fill(http, fresh_link, part, retry, on_progress)
    if not part.holds(audio):
        size = part.size
        part.discard()
        raise DownloadCorrupt(
            f"the download of {target.name} is corrupt: {size} bytes received, "
            f"{audio.size_bytes} bytes with another SHA-256 expected"
            if size == audio.size_bytes
            else f"the download of {target.name} is corrupt: "
            f"{size} bytes received, {audio.size_bytes} expected"
        )
    part.publish()


def _fill(
    http: httpx.Client,
    fresh_link: Callable[[], LinkedFile],
    part: PartFile,
    retry: RetryPolicy,
    on_progress: OnBytes,
) -> LinkedFile:
    """Receive until a response ends whole; the retries are refilled after each MiB."""
    audio = fresh_link()
    failures = 0
    link_is_fresh = True
    most_bytes = part.size
    while part.size < audio.size_bytes or part.etag is None:
        failure: VoiceReelError
        server_asks_s = None
        try:
            _receive(http, audio, part, on_progress)
            return audio
        except httpx.RequestError as exc:
            failure = ConnectionFailed(f"the download was cut: {exc or type(exc).__name__}")
        except ApiError as exc:
            if exc.status in _LINK_REFUSED and not link_is_fresh:
                audio = fresh_link()
                link_is_fresh = True
                continue
            if exc.status == _RANGE_REFUSED and part.size:
                part.restart(None)
            elif exc.status not in RETRIED_STATUSES:
                raise
            failure, server_asks_s = exc, exc.retry_after_s
        if part.size - most_bytes >= RETRIES_REFILLED_AFTER_BYTES:
            most_bytes = part.size
            failures = 0
        failures += 1
        if failures > retry.max_retries:
            raise failure
        retry.pause(failures, server_asks_s)
        link_is_fresh = False
    return audio


def _receive(http: httpx.Client, audio: LinkedFile, part: PartFile, on_progress: OnBytes) -> None:
    """One request for what `part` lacks of `audio`."""
    headers = {"Accept-Encoding": "identity"}
    offset, etag = part.size, part.etag
    if offset and etag is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
    with http.stream("GET", audio.url, headers=headers, follow_redirects=True) as response:
        if response.status_code == 200:
            part.restart(_strong_etag(response.headers.get("ETag", "")))
        elif response.status_code != 206:
            response.read()
            raise error_from_response(response)
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            part.discard()
            raise BadResponse("the server sent another part of the file than was asked for")
        # No chunk size: httpx would hold back, and at a cut lose, what fills no chunk.
        part.append(response.iter_raw(), audio.size_bytes, on_progress)


def _strong_etag(header: str) -> str | None:
    return header if re.fullmatch(r'"[!#-~]*"', header) else None
