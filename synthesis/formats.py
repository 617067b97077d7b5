"""Which audio formats, sample rates and bitrates go together."""

from dataclasses import dataclass

from django.utils.translation import gettext as _

from voicereel_site.errors import FieldError

DEFAULT_FORMAT = "mp3"
DEFAULT_SAMPLE_RATE = 44_100
DEFAULT_BITRATE_KBPS = 128
_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True)
class AudioFormat:
    """A format customers may ask for. Codec and container by ffmpeg's names; rates in Hz."""

    name: str
    media_type: str
    container: str
    codec: str
    sample_rates: tuple[int, ...]
    lossless: bool = False

    def bitrates_kbps(self, sample_rate: int) -> tuple[int, int] | None:
        """The lowest and highest bitrate for mono at this rate; None for lossless formats."""
        if self.lossless:
            return None
        if self.name == "mp3":  # MPEG-1 layer III, MPEG-2, MPEG-2.5: ISO/IEC 11172-3, 13818-3
            if sample_rate >= 32_000:
                return 32, 320
            return (8, 160) if sample_rate >= 16_000 else (8, 64)
        if self.name == "opus":  # RFC 6716, 2.1.1; mono gains nothing above 256
            return 6, 256
        # AAC: at most 6,144 bits a channel in a frame of 1,024 samples (ISO/IEC 14496-3)
        return 8, min(320, 6 * sample_rate // 1000)


FORMATS = {
    fmt.name: fmt
    for fmt in (
        AudioFormat("wav", "audio/wav", "wav", "pcm_s16le", _MPEG_RATES, lossless=True),
        AudioFormat("flac", "audio/flac", "flac", "flac", _MPEG_RATES, lossless=True),
        AudioFormat("mp3", "audio/mpeg", "mp3", "libmp3lame", _MPEG_RATES),
        AudioFormat("opus", "audio/ogg", "ogg", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000)),
        AudioFormat("m4a", "audio/mp4", "ipod", "aac", _MPEG_RATES),
    )
}
BIT_DEPTHS = (16, 24)  # of WAV and FLAC


@dataclass(frozen=True)
class OutputChoice:
    """What the audio file will be; ``bitrate_kbps`` or ``bit_depth`` is None, by the format."""

    format: str
    sample_rate: int  # Hz
    bitrate_kbps: int | None
    bit_depth: int | None


def choose_output(
    format: str | None, sample_rate: int | None, bitrate_kbps: int | None, bit_depth: int | None
) -> tuple[OutputChoice | None, list[FieldError]]:
    """The choice with its defaults filled in, or what is wrong with it, by field."""
    fmt = FORMATS[format or DEFAULT_FORMAT]
    errors = []
    if sample_rate is None:
        sample_rate = (
            DEFAULT_SAMPLE_RATE if DEFAULT_SAMPLE_RATE in fmt.sample_rates else fmt.sample_rates[-1]
        )
    elif sample_rate not in fmt.sample_rates:
        rates = ", ".join(f"{rate:,}" for rate in fmt.sample_rates)
        detail = _("%(format)s takes sample rates of %(rates)s Hz.")
        detail %= {"format": fmt.name, "rates": rates}
        errors.append(FieldError("/output/sample_rate", detail))
    if fmt.lossless:
        if bitrate_kbps is not None:
            detail = _("%(format)s is lossless: leave the bitrate out.") % {"format": fmt.name}
            errors.append(FieldError("/output/bitrate_kbps", detail))
        bit_depth = bit_depth or BIT_DEPTHS[0]
    elif bit_depth is not None:
        detail = _("Only wav and flac have a bit depth, not %(format)s.") % {"format": fmt.name}
        errors.append(FieldError("/output/bit_depth", detail))
    if errors:
        return None, errors
    limits = fmt.bitrates_kbps(sample_rate)
    if limits is not None:
        low, high = limits
        if bitrate_kbps is None:
            bitrate_kbps = min(DEFAULT_BITRATE_KBPS, high)
        elif not low <= bitrate_kbps <= high:
            detail = _("%(format)s at %(rate)s Hz takes %(low)s to %(high)s kbit/s.") % {
                "format": fmt.name,
                "rate": f"{sample_rate:,}",
                "low": low,
                "high": high,
            }
            return None, [FieldError("/output/bitrate_kbps", detail)]
    return OutputChoice(fmt.name, sample_rate, bitrate_kbps, bit_depth), []
