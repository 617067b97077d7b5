"""The secrets and the certificate that docker/compose.yml names, made at random: ``make compose-files``.

What is there already is kept, so that it can be run again after an update.
"""

import json
import secrets
import shutil
import tempfile
from pathlib import Path

from voicereel_site.local_nginx import local_certificate
from voicereel_site.local_stack import ROOT

_FOLDER = ROOT / "docker"
_LOGINS = {
    "web": ("voicereel_web", "app_password"),
    "operations": ("voicereel_operations", "operator_password"),
    "migrator": ("voicereel_migrator", "owner_password"),
}
# Whom alerts go to is the operator's to say; without, they are seen in Alertmanager and Grafana.
_OF_OTHERS = ("pagerduty_routing_key", "slack_webhook_url")


def make_secrets(folder: Path) -> None:
    """Fill a folder, which nobody else may read, with what is missing in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(name: str, value: str) -> str:
        path = folder / name
        if not path.exists():
            # Compose mounts the file as it is, and the containers' user is another one: the folder keeps others out.
            path.touch(mode=0o644)
            path.write_text(value)
        return path.read_text()

    for name in (
        *("secret_key", "api_key_pepper", "encryption_keys"),
        *("grafana_password", "postgres_password"),
    ):
        keep(name, secrets.token_urlsafe(48))
    for name, (login, password) in _LOGINS.items():
        value = keep(password, secrets.token_urlsafe(32))
        keep(f"database_url_{name}", f"postgres://{login}:{value}@postgres:5432/voicereel")
    keep("redis_url", "redis://redis:6379/0")
    keep("mail_url", "smtp://mail:1025")
    access, secret = "voicereel", secrets.token_hex(20)
    keep(
        "aws_credentials",
        f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n",
    )
    identity = {
        "name": "voicereel",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    keep("s3.json", json.dumps({"identities": [identity]}))
    for name in _OF_OTHERS:
        keep(name, "")
    if not (folder / "tls").exists():
        with tempfile.TemporaryDirectory() as scratch:
            made = local_certificate(Path(scratch))
            (folder / "tls").mkdir()
            for source, name in (
                (made.certificate, "tls.crt"),
                (made.key, "tls.key"),
                (made.authority, "ca.crt"),
            ):
                shutil.copy(source, folder / "tls" / name)
                (folder / "tls" / name).chmod(0o644)


def main() -> None:
    make_secrets(_FOLDER / "secrets")
    if not (_FOLDER / ".env").exists():
        shutil.copy(_FOLDER / "env.example", _FOLDER / ".env")
    print("docker/.env and docker/secrets/ are there. Name the images in docker/.env, then:")
    print("  cd docker && docker compose up --wait")


if __name__ == "__main__":
    main()
