"""``manage.py record_preset PRESET FILE``"""

import threading
from argparse import ArgumentParser
from typing import Any

import numpy as np
import soundfile
from django.core.management.base import CommandError

from synthesis.engines.base import LineToSpeak, SpokenLine
from synthesis.engines.kokoro import KokoroEngine, preset_names
from voicereel_site.commands import QuickCommand

_ENGLISH = (
    "The night train leaves the harbour a little after ten, when the last ferry has come in.",
    "I used to take it every Friday, with a paper bag of oranges and a book I never opened.",
    "You learn a lot about people between midnight and the first grey light over the fields.",
    "Some of them talk because they are lonely, and some because nobody will meet them again.",
    "An old man once told me the whole story of his life before we had reached the second stop.",
    "He said that he had no regrets at all, and then he looked out of the window for an hour.",
    "When the conductor came to wake us, his seat was empty, and there was a letter lying on it.",
)
_KOREAN = (
    "밤기차는 마지막 배가 들어온 뒤, 열 시가 조금 넘어서 항구를 떠납니다.",
    "저는 금요일마다 귤 한 봉지와 한 번도 펴지 않은 책을 들고 그 기차를 탔습니다.",
    "자정부터 들판에 첫 빛이 들 때까지, 사람들에 대해 많은 것을 배우게 됩니다.",
    "어떤 사람은 외로워서, 어떤 사람은 다시 만날 일이 없어서 이야기를 합니다.",
    "한 노인은 두 번째 역에 닿기도 전에 자기 삶을 모두 들려주었습니다.",
    "그는 후회가 없다고 말하고는, 한 시간 동안 창밖을 바라보았습니다.",
    "승무원이 우리를 깨우러 왔을 때 그 자리는 비어 있었고, 편지 한 장이 놓여 있었습니다.",
)
_PAUSE_S = 0.5


class Command(QuickCommand):
    help = "Have a preset voice read aloud for about 35 s: a reference to try the product with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("preset", help=", ".join(preset_names()))
        parser.add_argument("file", help="where to write it, .wav or .flac")

    def handle(self, *args: Any, **options: Any) -> None:
        preset = options["preset"]
        if preset not in preset_names():
            raise CommandError(f"There is no preset {preset}. Choose: {', '.join(preset_names())}")
        language = "ko" if preset.startswith("j") else "en"
        texts = _KOREAN if language == "ko" else _ENGLISH
        lines = [
            LineToSpeak(position, text, language, 1.0, 0, {"preset": preset})
            for position, text in enumerate(texts)
        ]
        spoken = [
            line
            for line in KokoroEngine().speak(lines, threading.Event())
            if isinstance(line, SpokenLine)
        ]
        sample_rate = spoken[0].sample_rate
        pause = np.zeros(round(_PAUSE_S * sample_rate), np.float32)
        parts = []
        for line in sorted(spoken, key=lambda line: line.position):
            parts += [line.waveform, pause]
        soundfile.write(options["file"], np.concatenate(parts), sample_rate, subtype="PCM_16")
