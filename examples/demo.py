"""``make demo``: two speakers, a conversation, and its captions, by the same CLI customers use.

Everything stays on this machine, under var/. A second run uses the speakers of the first.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from voicereel_site.local_stack import ROOT, LocalStack, StackFailed

FOLDER = ROOT / "var" / "demo"
CLI = Path(sys.executable).with_name("voicereel")
# The two people of examples/conversation.en.txt, and the presets that lend them a voice.
SPEAKERS = {"Anna": "af_heart", "Ben": "am_michael"}


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def api_key(stack: LocalStack) -> str:
    """The demo tenant's key, made once and kept where only this user can read it."""
    path = FOLDER / "api_key"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(stack.manage("create_tenant", "Demo"))
    return path.read_text()


def cli(environment: dict[str, str], *arguments: str) -> None:
    """Run the CLI as a customer would, with its own progress bars."""
    subprocess.run([CLI, *arguments], env=environment, check=True)


def registered(environment: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [CLI, "--json", "speakers", "list"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return {speaker["name"] for speaker in json.loads(done.stdout)["data"]}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "server.log").open("ab") as log:
        say("Starting web and worker (log: var/demo/server.log)")
        with LocalStack(log=log) as stack:
            environment = os.environ | {
                "VOICEREEL_URL": stack.url,
                "VOICEREEL_API_KEY": api_key(stack),
            }
            present = registered(environment)
            for name, preset in SPEAKERS.items():
                if name in present:
                    continue
                reference = FOLDER / f"{name.lower()}.wav"
                if not reference.exists():
                    say(f"Recording 35 s of {name} (the preset {preset} reads aloud)")
                    stack.manage("record_preset", preset, str(reference))
                say(f"Registering {name}")
                cli(environment, "speakers", "register", name, str(reference), "--consent")
            say("Rendering examples/conversation.en.txt")
            script = ROOT / "examples" / "conversation.en.txt"
            cli(
                environment,
                *("synthesize", str(script), "-o", str(FOLDER / "conversation.mp3")),
                *("--title", "A conversation", "--captions", "json,vtt,srt"),
            )
    say("Done. Listen to var/demo/conversation.mp3; its captions lie beside it (json, vtt, srt).")


if __name__ == "__main__":
    try:
        main()
    except (StackFailed, subprocess.CalledProcessError) as exc:
        sys.exit(f"The demo failed: {exc}\nvar/demo/server.log may say why.")
