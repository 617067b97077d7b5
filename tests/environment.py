"""Loaded before Django reads its settings: tests have a folder of their own and the tone engine."""

import os
import tempfile

for name in [n for n in os.environ if n.startswith("VOICEREEL_")]:
    del os.environ[name]
for name in ("DATABASE_URL", "REDIS_URL"):
    os.environ.pop(name, None)
_folder = tempfile.TemporaryDirectory(prefix="voicereel-tests-")
os.environ["VOICEREEL_VAR"] = _folder.name
os.environ["VOICEREEL_ENGINE"] = "tone"
