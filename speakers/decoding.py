"""Hostile bytes -> checked waveform, in a child process with limits on memory, time and output."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from voicereel_site.errors import FieldError, Refusal
from voicereel_site.outages import require_disk

log = structlog.get_logger(__name__)

Waveform = npt.NDArray[np.float32]  # mono, in [-1, 1], shape (samples,)

# 44.1 kHz is what fish-speech 1.5 takes; the embedded engine resamples from it.
REFERENCE_RATE = 44_100
LONGEST_S = 600.0
_TIMEOUT_S = 20.0  # of wall time: ten minutes of MP3 take about two seconds


@dataclass(frozen=True)
class DecodedClip:
    """A recording as checked FLAC: mono, 16 bits, at REFERENCE_RATE."""

    path: Path
    duration_ms: int


@contextmanager
def decoded(sources: Sequence[Path], names: Sequence[str]) -> Iterator[list[DecodedClip]]:
    """The recordings, decoded one after another; the files live as long as the block.

    sources: what was uploaded; names: as the customer knows them, for the messages.
    Raises audio_format_not_supported, audio_unreadable or audio_too_long.
    """
    with tempfile.TemporaryDirectory(prefix="decode-", dir=settings.SCRATCH_DIR) as folder:
        targets = [Path(folder) / f"{index}.flac" for index in range(len(sources))]
        reply = _run_child(sources, targets)
        if "code" in reply:
            index = int(reply.get("file", 0))
            detail = str(_SAID[reply["cause"]])
            detail %= {"file": _shown(names[index]), "codec": reply.get("codec"), "known": _KNOWN}
            raise Refusal(
                str(reply["code"]), detail, errors=[FieldError(f"/audio/{index}", detail)]
            )
        yield [
            DecodedClip(target, round(frames * 1000 / REFERENCE_RATE))
            for target, frames in zip(targets, reply["frames"], strict=True)
        ]


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:80] or _("The file")


_KNOWN = gettext_lazy("WAV (PCM or float), FLAC, MP3, OGG (Opus or Vorbis) and M4A (AAC or ALAC)")
# Of the causes that the child names, what is said to the customer.
_SAID = {
    "empty": gettext_lazy("%(file)s is empty."),
    "unknown_format": gettext_lazy("%(file)s is none of %(known)s."),
    "unknown_codec": gettext_lazy("%(file)s is coded as %(codec)s; we read %(known)s."),
    "no_audio": gettext_lazy("%(file)s holds no audio that can be read."),
    "not_finite": gettext_lazy("%(file)s holds samples that are not numbers."),
    "damaged": gettext_lazy("%(file)s is damaged or cut off."),
    "too_long": gettext_lazy("%(file)s makes the reference longer than 10 minutes in all."),
    "child_died": gettext_lazy(
        "%(file)s could not be decoded within our limits; convert it to WAV or FLAC."
    ),
}


def _run_child(sources: Sequence[Path], targets: Sequence[Path]) -> dict[str, Any]:
    order = {
        "inputs": [str(path) for path in sources],
        "outputs": [str(path) for path in targets],
        "sample_rate": REFERENCE_RATE,
        "longest_s": LONGEST_S,
    }
    child = Path(__file__).with_name("decoder_child.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(child), json.dumps(order)],
            capture_output=True,
            timeout=_TIMEOUT_S,
            # Nothing of our environment: it holds secrets, and the child reads strangers' bytes.
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            check=True,
        )
        return dict(json.loads(done.stdout))
    except (subprocess.SubprocessError, json.JSONDecodeError) as exc:
        require_disk()  # where the decoded sound had no room, the recording is not to blame
        log.warning("decoder.died", error=type(exc).__name__)
        return {"code": "audio_unreadable", "cause": "child_died"}
