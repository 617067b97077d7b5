"""nginx with our configuration before processes of this machine, with a certificate of its own: what
``make run-tls`` and the tests start.

    python -m voicereel_site.local_nginx --port 8443
"""

import argparse
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings

from voicereel_site.local_stack import (
    NICE,
    ROOT,
    LocalStack,
    StackFailed,
    kill_group,
    port_is_busy,
    stopped_by_signals,
    until_stopped,
)

_CONFIGURATION = ROOT / "docker" / "nginx"
_VALID = timedelta(days=365)
_READY_S = 10.0


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: whom to trust, and what nginx shows."""

    authority: Path
    certificate: Path
    key: Path


def local_certificate(folder: Path) -> Certificate:
    """A certificate for this machine, by an authority made for it alone; made anew when it is old."""
    found = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if found.certificate.exists():
        ends = x509.load_pem_x509_certificate(found.certificate.read_bytes()).not_valid_after_utc
        if ends > datetime.now(UTC) + timedelta(days=1):
            return found
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    authority_name = _name("VoiceReel, this machine alone")
    authority = (
        _begin(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    addresses = [ipaddress.ip_address(text) for text in ("127.0.0.1", "::1")]
    names = [x509.DNSName("localhost"), *(x509.IPAddress(address) for address in addresses)]
    certificate = (
        _begin(_name("localhost"), authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    # The authority's own key is kept by nobody: it signs nothing else.
    found.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    found.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    found.key.touch(mode=0o600)
    found.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + _VALID,
    )


class LocalNginx:
    """nginx on loopback before web processes. folder: its files, and its log.

    tls: with a certificate; otherwise it speaks plain HTTP. plain_port: sends to the other one.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *web_ports: int,
        console_port: int | None = None,
        tls: Certificate | None = None,
        plain_port: int | None = None,
    ) -> None:
        self.folder, self.port = folder, port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        for file in _CONFIGURATION.glob("*.conf"):
            shutil.copy(file, folder)
        listen = f"listen 127.0.0.1:{port};"
        if tls is not None:
            listen = (
                f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {tls.certificate}; "
                f"ssl_certificate_key {tls.key}; include voicereel-tls.conf;"
            )
        web = " ".join(f"server 127.0.0.1:{web_port} max_fails=0;" for web_port in web_ports)
        redirect = ""
        if plain_port is not None:
            target = f"https://127.0.0.1:{port}$request_uri"
            redirect = f"server {{ listen 127.0.0.1:{plain_port}; return 308 {target}; }}"
        # Started by root, nginx would work as somebody who may not enter our folders.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"""
            {user} daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
            events {{ worker_connections 512; }}
            http {{
                access_log off;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
                include voicereel.conf;
                upstream voicereel_web {{ {web} keepalive 32; keepalive_timeout 1s; }}
                upstream voicereel_console {{ server 127.0.0.1:{console_port or web_ports[0]}; }}
                server {{ {listen} include voicereel-locations.conf; }}
                {redirect}
            }}
            """
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises StackFailed if it does not listen in time."""
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
        if program is None:
            raise StackFailed(
                "nginx is not installed. On Debian or Ubuntu: apt install nginx-light"
            )
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    "-c",
                    str(self.folder / "nginx.conf"),
                    "-e",
                    str(self.folder / "error.log"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise StackFailed(f"nginx did not start; see {self.folder}/error.log")

    def stop(self) -> None:
        if self.process is not None:
            kill_group(self.process)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the product behind TLS until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8443)
    port = parser.parse_args().port
    if port_is_busy(port):
        print(f"Port {port} is in use. Choose another: make run-tls TLS_PORT=8444", file=sys.stderr)
        return 1
    stopping = stopped_by_signals()
    certificate = local_certificate(settings.VAR_DIR / "tls")
    environment = {"VOICEREEL_HTTPS": "true", "VOICEREEL_TRUSTED_PROXIES": "1"}
    try:
        with LocalStack(environment=environment, niceness=NICE) as stack:
            nginx = LocalNginx(settings.VAR_DIR / "nginx", port, stack.port, tls=certificate)
            with nginx:
                print(
                    f"VoiceReel runs on {nginx.url} (Ctrl-C ends it). Its certificate is this "
                    f"machine's own:\n  curl --cacert {certificate.authority} {nginx.url}/healthz",
                    file=sys.stderr,
                )
                return until_stopped(stack, stopping)
    except StackFailed as exc:
        print(exc, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
