"""What speakers stores for customers to read, in English (voicereel_site.stored_text)."""

from django.utils.translation import gettext_noop

# Why a speaker failed.
TOO_LITTLE_SPEECH = gettext_noop(
    "We found %(found_s)s s of speech and need at least %(needed_s)s s. Record one person reading "
    "aloud, with few pauses and without music."
)
ANALYSIS_LOST = gettext_noop(
    "The analysis could not be finished. Delete this speaker and register it again, as WAV or FLAC."
)

# Warnings about a recording.
QUIET = gettext_noop("The recording is quiet (%(loudness)s LUFS). Move closer to the microphone.")
CLIPPED = gettext_noop(
    "%(percent)s %% of the recording is clipped. Lower the input level and record again."
)
NOISY = gettext_noop(
    "Speech is only %(noise_db)s dB above the background. Record in a quieter room."
)
