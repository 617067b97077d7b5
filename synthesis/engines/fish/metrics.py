"""What an operator sees of the engine. No label names a tenant."""

from prometheus_client import Counter, Gauge

from synthesis.engines.fish.requests import Cause

READY = Gauge("voicereel_engine_ready", "1 once a warm engine takes jobs")
LINES_WAITING = Gauge("voicereel_engine_lines_waiting", "Pieces of lines that wait for a row")
ROWS_IN_USE = Gauge("voicereel_engine_rows_in_use", "Pieces of lines being spoken")
STEPS = Counter("voicereel_engine_steps_total", "Steps of the decoder, each a frame of every row")
SHARED_STEPS = Counter(
    "voicereel_engine_shared_steps_total", "Steps that rows of several jobs had in common"
)
TOKENS = Counter("voicereel_engine_tokens_total", "Frames of codes of finished pieces")
AUDIO_SECONDS = Counter("voicereel_engine_audio_seconds_total", "Audio of finished pieces")
BUSY_SECONDS = Counter(
    "voicereel_engine_busy_seconds_total",
    "Time with a piece in work; over the audio's this is the real-time factor",
)
RETRIES = Counter("voicereel_engine_retries_total", "Pieces spoken again", ["cause"])
FAILURES = Counter("voicereel_engine_failures_total", "Lines given up", ["cause"])
VOICES_KEPT = Gauge("voicereel_engine_voices_kept", "Voices whose prefix is on the device")
MEMORY_BYTES = Gauge(
    "voicereel_engine_memory_bytes", "Device memory reserved; on a CPU the process's peak"
)

for _cause in Cause:
    # From the start on, so that a rule finds a zero and not nothing.
    RETRIES.labels(_cause.value)
    FAILURES.labels(_cause.value)
