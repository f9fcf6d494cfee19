"""An origin of the lab's RPKI: an RRDP server over HTTPS with a certificate authority of its own, which can be made to misbehave.

It spells RRDP by itself, so that a fault in our own spelling cannot hide behind the same fault in reading. Any path can be given another answer (`answers`): bytes,
or a function that gets the handler and does what it likes.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


def authority(folder: Path, *names: str, days: float = 30) -> tuple[Path, Path, Path]:
    """(CA, certificate for `names`, its key), PEM files in `folder`; good from yesterday on and for so many `days` from now."""
    now = datetime.now(UTC)

    def built(subject: str, issuer: str, public: Any, signer: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        made = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            public, x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=days),
        )  # fmt: skip
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(signer, hashes.SHA256())

    ca_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    own_name = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    signing = x509.KeyUsage(False, False, False, False, False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    ca = built("lab CA", "lab CA", ca_key.public_key(), ca_key, (x509.BasicConstraints(True, None), True), (signing, True),
               (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False))  # fmt: skip
    own = built(names[0], "lab CA", own_key.public_key(), ca_key, (own_name, False), (x509.BasicConstraints(False, None), True),
                (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False))  # fmt: skip
    pem = serialization.Encoding.PEM
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    private = own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, content in zip(paths, (ca.public_bytes(pem), own.public_bytes(pem), private), strict=True):
        path.write_bytes(content)
    return paths


def spelled(kind: str, session: str, serial: int, body: str) -> bytes:
    return f'<{kind} xmlns="http://www.ripe.net/rpki/rrdp" version="1" session_id="{session}" serial="{serial}">{body}</{kind}>'.encode()


def published(path: str, content: bytes, replaces: bytes | None = None) -> str:
    was = f' hash="{hashlib.sha256(replaces).hexdigest()}"' if replaces is not None else ""
    return f'<publish uri="rsync://{path}"{was}>\n{base64.encodebytes(content).decode()}</publish>\n'


def withdrawn(path: str, was: bytes) -> str:
    return f'<withdraw uri="rsync://{path}" hash="{hashlib.sha256(was).hexdigest()}"/>\n'


class Origin:
    """What it publishes now, and all deltas since it began its session. `asked` are the paths that were asked for."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.begin({})

    @property
    def uri(self) -> str:
        return f"{self.base}/notification.xml"

    def begin(self, files: Mapping[str, bytes]) -> None:
        """A new session with `files` at serial 1."""
        self.session, self.serial = str(uuid.uuid4()), 0
        self.files: dict[str, bytes] = {}
        self.deltas: dict[int, tuple[str, bytes]] = {}
        self.publish(files)

    def publish(self, files: Mapping[str, bytes]) -> None:
        """The next serial holds `files` and nothing else."""
        self.serial += 1
        body = "".join(withdrawn(path, was) for path, was in self.files.items() if path not in files)
        body += "".join(published(path, now, self.files.get(path)) for path, now in files.items() if now != self.files.get(path))
        if self.serial > 1:
            self.delta(self.serial, body)
        self.files = dict(files)
        self.snapshot("".join(published(path, content) for path, content in files.items()))

    def forget(self, path: str) -> None:
        self.answers.pop(path, None)

    def delta(self, serial: int, body: str) -> None:
        self._delta(serial, spelled("delta", self.session, serial, body))

    def _delta(self, serial: int, content: bytes) -> None:
        path = f"/{self.session}/{serial}/delta.xml"
        self.answers[path] = content
        self.deltas[serial] = path, content

    def snapshot(self, body: str) -> None:
        self.whole(spelled("snapshot", self.session, self.serial, body))

    def whole(self, content: bytes) -> None:
        path = f"/{self.session}/{self.serial}/snapshot.xml"
        self.answers[path] = content
        self.notify(f'<snapshot uri="{self.base}{path}" hash="{hashlib.sha256(content).hexdigest()}"/>')

    def notify(self, snapshot: str, deltas: str | None = None) -> None:
        lines = [
            f'<delta serial="{serial}" uri="{self.base}{path}" hash="{hashlib.sha256(content).hexdigest().upper()}"/>'
            for serial, (path, content) in self.deltas.items()
        ]
        self.said = snapshot, "".join(lines) if deltas is None else deltas
        self.answers["/notification.xml"] = spelled("notification", self.session, self.serial, "".join(self.said))


def read(folder: Path) -> dict[str, bytes]:
    """The files of a tree, by path."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


def main(tls: str, name: str, address: str, tree: str) -> None:
    """Serve a tree at port 443 until standard input ends; each line there publishes the tree as it is now. Certificates below HOST/ta/ are served at /ta/ too."""
    with origin(Path(tls), address, 443, name) as (this, _):

        def publish(begin: bool) -> None:
            files = read(Path(tree))
            (this.begin if begin else this.publish)({path: content for path, content in files.items() if "/ta/" not in path})
            this.answers |= {path.removeprefix(path.split("/")[0]): content for path, content in files.items() if "/ta/" in path}
            print(this.serial, flush=True)

        publish(True)
        for _ in sys.stdin:
            publish(False)


@contextmanager
def origin(folder: Path, address: str = "127.0.0.1", port: int = 0, name: str = "localhost") -> Iterator[tuple[Origin, Path]]:
    """An origin that serves, and the file of the CA that vouches for it."""
    ca, certificate, key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    if not ca.exists():
        authority(folder, name)
    this: Origin

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            this.asked.append(self.path)
            answer = this.answers.get(self.path)
            if callable(answer):
                answer(self)
                return
            self.send_response(200 if answer is not None else 404)
            self.send_header("Content-Length", str(len(answer or b"")))
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            pass  # they hang up in the middle, which is what is being tested

    server = Server((address, port), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    shown = f"{name}:{server.server_port}" if server.server_port != 443 else name
    this = Origin(f"https://{shown}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield this, ca
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main(*sys.argv[1:])
