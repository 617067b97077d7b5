"""What synthesis stores for customers to read, in English (voicereel_site.stored_text)."""

from django.utils.translation import gettext_noop

# Why a job failed.
LINE_FAILED = gettext_noop("Line %(line_id)s: %(detail)s")
ATTEMPTS_SPENT = gettext_noop(
    "%(attempts)s attempts in a row ended without a new line. We have been told; retry it later."
)
SPEAKER_GONE = gettext_noop(
    "Speaker %(name)s (%(id)s), which line %(line_id)s needs, was deleted. Submit the script again "
    "with another speaker."
)

# Why a line failed: of all engines,
NOTHING_TO_SPEAK = gettext_noop("There is nothing to speak in this line.")
# of the tone engine,
ASKED_TO_FAIL = gettext_noop("The tone engine was asked to fail this line.")
# of the embedded engine,
NO_SOUND = gettext_noop("The engine made no sound for this line. Rephrase it.")
NOTHING_FOUND = gettext_noop("The engine finds nothing to speak in this line. Rephrase it.")
# and of fish-speech.
NOT_SPOKEN = gettext_noop(
    "The line could not be spoken: %(why)s (%(cause)s). Rephrase it, split it, or submit it again "
    "with another seed."
)
NOT_SPOKEN_AFTER_TRIES = gettext_noop(
    "The line could not be spoken after %(tries)s tries: %(why)s (%(cause)s). Rephrase it, split it, "
    "or submit it again with another seed."
)
NO_END = gettext_noop("the voice did not come to an end")
NOT_FINITE = gettext_noop("the model computed no sound")
SILENCE = gettext_noop("nothing could be heard")
LOOP = gettext_noop("the voice got stuck repeating itself")
TOO_LONG = gettext_noop("it is too long for the model together with this speaker's reference")
NOT_ALIGNED = gettext_noop("the sound was too short for its words")
OTHER_VOICE_MODEL = gettext_noop(
    "The speaker was prepared with another version of the voice model. Register it again."
)

# Why no voice could be made of a reference.
NO_TRANSCRIPT = gettext_noop(
    "This voice engine needs the words of the recording. Register the speaker again with `transcript`: "
    "what is said, word for word. (An operator can have recordings transcribed by setting "
    "VOICEREEL_RECOGNISER_MODEL.)"
)
NOT_THE_WORDS = gettext_noop(
    "The transcript does not fit the recording: it has too many words for its length. Send what is said "
    "in the recording, word for word, or leave the transcript out."
)
NO_WORDS = gettext_noop(
    "No words were found in the recording. Record one person reading aloud, or send `transcript`."
)

# What a customer should know about a language.
KOREAN_IS_EXPERIMENTAL = gettext_noop(
    "Korean is experimental on the embedded engine: it has a strong accent and is only partly "
    "intelligible. For Korean in earnest use the fish-speech engine."
)
