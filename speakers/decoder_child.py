"""The program that touches hostile bytes: run alone, with limits, by ``decoding.py``.

It imports nothing of the project and is told everything by arguments: a JSON object with
``inputs`` (paths), ``outputs`` (FLAC paths to write), ``sample_rate`` (Hz) and ``longest_s``. It
prints one JSON object: ``{"frames": [n, ...]}``, or ``{"code", "cause", "file"}`` for a refusal, with
``"codec"`` where that is the cause.
"""

import json
import os
import resource
import sys

_MEMORY_BYTES = 1 << 30
_CPU_S = 20
_FILE_BYTES = 128 << 20  # ten minutes of 16-bit mono at 44.1 kHz are 53 MB before FLAC

# What a file may be, by its first bytes; ffmpeg is never left to guess, because its playlist
# formats open other files and addresses.
_CODECS = {
    "wav": {
        "pcm_u8",
        "pcm_s16le",
        "pcm_s24le",
        "pcm_s32le",
        "pcm_f32le",
        "pcm_f64le",
    },
    "flac": {"flac"},
    "ogg": {"opus", "vorbis", "flac"},
    "mp3": {"mp3", "mp3float"},
    "mov": {"aac", "alac"},
}
# Whose header states the length: a longer one is refused before it has cost anything. (WAV states it
# too, but programs that stream one write the highest number there.)
_STATES_LENGTH = {"flac", "mov"}
_PADDING_S = 1.0  # which encoders of AAC add, and the header may count
# A cut at the start of an MP3 leaves frames that refer to data before it.
_BROKEN_PACKETS_FORGIVEN = 3


class Refused(Exception):
    def __init__(self, code: str, cause: str, codec: str | None = None) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.codec = codec


def container_of(head: bytes) -> str | None:
    """The demuxer for a file that begins so, or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "mp3"  # the sync word and layer III
    return None


def limit_resources() -> None:
    for what, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(what, (limit, limit))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS; the others hold
            continue


def decode(source: str, target: str, sample_rate: int, longest_s: float) -> int:
    """Decode one file to mono FLAC. Returns its length in samples at ``sample_rate``."""
    import av
    import numpy as np
    import soundfile

    with open(source, "rb") as file:
        container = container_of(file.read(16))
        if container is None:
            if os.path.getsize(source) == 0:
                raise Refused("audio_unreadable", "empty")
            raise Refused("audio_format_not_supported", "unknown_format")
        file.seek(0)
        frames = 0
        broken = 0
        try:
            opened = av.open(
                file, "r", format=container, options={"protocol_whitelist": "file,pipe"}
            )
            stream = opened.streams.audio[0]
        except (av.FFmpegError, IndexError, ValueError) as exc:
            raise Refused("audio_unreadable", "no_audio") from exc
        codec = stream.codec_context.name
        if codec not in _CODECS[container]:
            raise Refused("audio_format_not_supported", "unknown_codec", codec)
        stated_s = (opened.duration or 0) / av.time_base
        if container in _STATES_LENGTH and stated_s > longest_s + _PADDING_S:
            raise Refused("audio_too_long", "too_long")
        stream.codec_context.thread_count = 1
        resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
        with soundfile.SoundFile(
            target, "w", sample_rate, channels=1, subtype="PCM_16", format="FLAC"
        ) as out:

            def keep(frame: av.AudioFrame | None) -> None:
                nonlocal frames
                for part in resampler.resample(frame):
                    samples = part.to_ndarray().reshape(-1)
                    if not np.isfinite(samples).all():
                        raise Refused("audio_unreadable", "not_finite")
                    frames += len(samples)
                    if frames > longest_s * sample_rate:
                        raise Refused("audio_too_long", "too_long")
                    out.write(np.clip(samples, -1.0, 1.0))

            packets = opened.demux(stream)
            while True:
                try:
                    packet = next(packets)
                    for frame in packet.decode():
                        keep(frame)
                except StopIteration:
                    break
                except av.FFmpegError as exc:
                    broken += 1
                    if container != "mp3" or broken > _BROKEN_PACKETS_FORGIVEN:
                        raise Refused("audio_unreadable", "damaged") from exc
            keep(None)
    return frames


def main() -> None:
    limit_resources()
    order = json.loads(sys.argv[1])
    frames: list[int] = []
    left_s = order["longest_s"]
    for index, (source, target) in enumerate(zip(order["inputs"], order["outputs"], strict=True)):
        try:
            frames.append(decode(source, target, order["sample_rate"], left_s))
        except Refused as exc:
            refusal = {"code": exc.code, "cause": exc.cause, "codec": exc.codec, "file": index}
            print(json.dumps(refusal))
            return
        left_s -= frames[-1] / order["sample_rate"]
    print(json.dumps({"frames": frames}))


if __name__ == "__main__":
    main()
