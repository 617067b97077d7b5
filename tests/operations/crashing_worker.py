"""A Celery worker that dies, or stops for a while, at a point of a job that a test names.

    celery -A tests.operations.crashing_worker worker

CRASH_AT: a name of POINTS; CRASH_JOB: the job; CRASH_PAUSE: a folder. With it the worker does not die
but makes the file ``paused`` there and goes on when ``go_on`` appears. CRASH_TEXT: a text whose line
kills the worker whenever it is spoken.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import django
from celery.signals import worker_init

from voicereel_site.celery import app

__all__ = ["app"]

_current = threading.local()  # .job: the id of the job that this thread renders


def _strike() -> None:
    if folder := os.environ.get("CRASH_PAUSE"):
        (Path(folder) / "paused").touch()
        deadline = time.monotonic() + 120
        while not (Path(folder) / "go_on").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _is_target() -> bool:
    return getattr(_current, "job", None) == os.environ.get("CRASH_JOB")


def _strike_at(owner: Any, name: str, *, before: bool = True, call: int = 1) -> None:
    """Strike when a function is called for the n-th time for the job, before or after its work."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def struck(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += _is_target()
        now = _is_target() and calls == call
        if now and before:
            _strike()
        result = original(*args, **kwargs)
        if now and not before:
            _strike()
        return result

    setattr(owner, name, struck)


def _arm(point: str) -> None:
    from synthesis import audio, rendering, storage

    at: dict[str, Callable[[], None]] = {
        "claimed": lambda: _strike_at(rendering, "_speak_missing_lines"),
        "first line spoken": lambda: _strike_at(rendering._Keeper, "add"),
        "line stored, row not": lambda: _strike_at(storage, "put_lines", before=False, call=3),
        "between lines": lambda: _strike_at(rendering._Keeper, "add", before=False, call=5),
        "all lines kept": lambda: _strike_at(rendering, "_mix"),
        "mixing": lambda: _strike_at(audio, "limit", call=6),
        "encoding": lambda: _strike_at(audio.Encoder, "write", call=3),
        "uploading": _strike_in_upload,
        "uploaded": lambda: _strike_at(storage, "put_audio", before=False),
        "captions stored": lambda: _strike_at(storage, "put_captions", before=False),
        "finishing": lambda: _strike_at(rendering, "record_usage", before=False),
        "finished": lambda: _strike_at(rendering, "finish_job", before=False),
    }
    at[point]()


POINTS = (
    "claimed",
    "first line spoken",
    "line stored, row not",
    "between lines",
    "all lines kept",
    "mixing",
    "encoding",
    "uploading",
    "uploaded",
    "captions stored",
    "finishing",
    "finished",
)


def _strike_in_upload() -> None:
    """After the first piece of the audio file: a disk takes it by chunks, S3 reads it."""
    from django.core.files.base import File
    from storages.utils import ReadBytesWrapper

    from synthesis import storage

    put_audio = storage.put_audio
    under_way = threading.Event()  # the target's upload: boto3 reads in threads of its own

    def watched_put(job: Any, path: Path, format_name: str) -> str:
        if _is_target():
            under_way.set()
        return put_audio(job, path, format_name)

    storage.put_audio = watched_put
    chunks = File.chunks
    read = ReadBytesWrapper.read

    def struck_chunks(self: Any, *args: Any) -> Iterator[bytes]:
        for chunk in chunks(self, *args):
            yield chunk
            if _is_target() and "/audio." in str(self.name):
                _strike()

    def struck_read(self: Any, *args: Any) -> bytes:
        piece: bytes = read(self, *args)
        if piece and under_way.is_set() and "/audio." in str(getattr(self.file, "name", "")):
            _strike()
        return piece

    File.chunks = struck_chunks
    ReadBytesWrapper.read = struck_read


def _poison(text: str) -> None:
    from synthesis.engines.base import FailedLine, LineToSpeak, SpokenLine
    from synthesis.engines.tone import ToneEngine

    speak = ToneEngine.speak

    def lethal(
        self: ToneEngine, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        for line in lines:
            if text in line.text:
                os.killpg(os.getpgid(0), signal.SIGKILL)
            time.sleep(0.3)  # slow enough for its neighbours to be caught in the middle
            yield from speak(self, [line], stopping)

    ToneEngine.speak = lethal  # type: ignore[method-assign]


@worker_init.connect
def _prepare(**_: Any) -> None:
    django.setup()
    from synthesis import rendering

    # A file and a commit for each line, as of lines that take long to speak.
    rendering.KEPT_EVERY_S = 0.0
    render = rendering.render

    def watched(job: Any) -> None:
        _current.job = job.pk
        render(job)

    rendering.render = watched
    if point := os.environ.get("CRASH_AT"):
        _arm(point)
    if text := os.environ.get("CRASH_TEXT"):
        _poison(text)
