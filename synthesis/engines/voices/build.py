"""``make voices``: the preset voices again from their package.

Takes the style tables out of npm's kokoro-js (Apache-2.0, see NOTICE), whose archive is checked
by hash, keeps them as float16, and measures the embedding of each with the engine itself.

    python -m synthesis.engines.voices.build kokoro-js-1.2.1.tgz
"""

import hashlib
import json
import os
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np

ARCHIVE_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
# Ten English voices far from one another (no pair above 0.8 in similarity), without the
# whispering af_nicole; and three that are least hard to understand in Korean.
LANGUAGES = {
    "af_heart": "en",
    "af_aoede": "en",
    "af_river": "en",
    "bf_emma": "en",
    "bf_lily": "en",
    "am_eric": "en",
    "am_michael": "en",
    "am_onyx": "en",
    "bm_daniel": "en",
    "am_santa": "en",
    "jf_alpha": "ko",
    "jm_kumo": "ko",
}
TRIALS = {
    "en": [
        "The train was late, so we sat down and watched the rain run along the platform roof.",
        "Nobody had told her that the shop would be closed for the whole of the summer.",
    ],
    "ko": [
        "기차가 늦어서 우리는 앉아서 비가 내리는 것을 보았습니다.",
        "여름 내내 가게가 문을 닫는다고 아무도 말해 주지 않았어요.",
    ],
}


def main(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} is not kokoro-js 1.2.1: its SHA-256 is {found}")
    folder = Path(__file__).parent
    with tarfile.open(archive) as tar:
        for name in LANGUAGES:
            file = tar.extractfile(f"package/voices/{name}.bin")
            assert file is not None
            table = np.frombuffer(file.read(), "<f4").reshape(510, 256)
            np.save(folder / f"{name}.npy", table.astype(np.float16))

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
    import django

    django.setup()
    from synthesis.engines.base import LineToSpeak, SpokenLine
    from synthesis.engines.kokoro import KokoroEngine
    from synthesis.engines.speaker_encoder import embed

    engine = KokoroEngine()
    presets = {}
    for name, language in LANGUAGES.items():
        lines = [
            LineToSpeak(position, text, language, 1.0, 0, {"preset": name})
            for position, text in enumerate(TRIALS[language])
        ]
        spoken = [
            line for line in engine.speak(lines, threading.Event()) if isinstance(line, SpokenLine)
        ]
        sound = np.concatenate([line.waveform for line in spoken])
        embedding = [round(float(x), 4) for x in embed(sound, spoken[0].sample_rate)]
        presets[name] = {"language": language, "embedding": embedding}
    text = json.dumps(presets, indent=1).replace("\n   ", " ")
    (folder / "presets.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
