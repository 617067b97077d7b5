"""What the command line shows: progress on stderr, tables, and values in plain words."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

_BAR_WIDTH = 30
_REDRAW_S = 0.1
_NEW_LINE_S = 1.0


def in_lines(done: int, total: int) -> str:
    return f"{done} of {total} lines"


def in_bytes(done: int, total: int) -> str:
    if total < 1e6:
        return f"{done / 1e3:.0f} of {total / 1e3:.0f} kB"
    return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"


class ProgressBar:
    """A bar on stderr; where that is no terminal, a line for each 10 % and second at most."""

    def __init__(self, label: str, count: Callable[[int, int], str], *, hidden: bool) -> None:
        self._label = label
        self._count = count
        self._hidden = hidden
        self._live = sys.stderr.isatty()
        self._drawn_at = 0.0
        self._drawn = ""
        self._tenths_shown = -1

    def update(self, done: int, total: int) -> None:
        if self._hidden:
            return
        share = min(1.0, done / total) if total else 0.0
        if self._live:
            self._draw(share, done, total)
        elif int(share * 10) > self._tenths_shown and (
            share >= 1.0 or time.monotonic() - self._drawn_at >= _NEW_LINE_S
        ):
            self._tenths_shown = int(share * 10)
            self._drawn_at = time.monotonic()
            print(f"{self._label}: {self._count(done, total)}", file=sys.stderr, flush=True)

    def _draw(self, share: float, done: int, total: int) -> None:
        now = time.monotonic()
        if share < 1.0 and now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        filled = round(share * _BAR_WIDTH)
        bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
        text = f"{self._label} [{bar}] {self._count(done, total)}"
        if text != self._drawn:
            padding = " " * (len(self._drawn) - len(text))
            print(f"\r{text}{padding}", end="", file=sys.stderr, flush=True)
            self._drawn = text

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._drawn:
            print(file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """`text` without line breaks or control characters, which could disturb a terminal."""
    printable = (" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return " ".join("".join(printable).split())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by display width, in which a Korean syllable takes two cells."""
    cells = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def duration(milliseconds: int) -> str:
    """A length of time as "42.5 s" or "3 min 02 s"."""
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def minute(moment: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return "-" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
