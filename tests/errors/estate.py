"""What the rows of the catalogue need: a relay that runs, one whose agent serves, files that are wrong in many ways."""

import http.server
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.certificates import Authority
from tests.support.forked import Programs
from tests.support.processes import python

TEXTS = {
    "tunnel.yml": "version: 3\ntunnels:\n  web: {addr: 3000}\n",
    "two.yml": "version: 3\ntunnels:\n  one: {addr: 3000, subdomain: shop}\n  two: {addr: 3000, subdomain: shop}\n",
    "empty.yml": "version: 3\n",
    "misspelt.yml": "version: 2\ntunnels:\n  web: {proto: http, addr: 80, ip_restrictions: {}}\n",
    "typo.yml": "version: 3\nagent:\n  authtokn: x\n",
    "oauth.yml": "version: 3\ntunnels:\n  web: {addr: 80, oauth: {provider: google}}\n",
    "format.yml": "version: 3\nagent: {log_format: xml}\n",
    "broken.yml": "a: b: c\n",
    "ngrok": "#!/bin/sh\n",
    "broken.toml": "domain tun.example\n",
    "typo.toml": 'domian = "tun.example"\n',
}


@contextmanager
def estate(folder: Path, programs: Programs) -> Iterator[dict[str, str]]:
    """The names in the rows' braces and what they stand for."""

    def run(*args: str) -> str:
        done = programs.run("tunnelrelay", args, cwd=folder)
        assert done.code == 0, done.err
        return done.out.strip()

    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    _certificates(folder)
    data, live = folder / "data", folder / "live"
    run("admin", "create", "--name", "ann", "--data-dir", str(data))
    run("backup", str(folder / "good.tar.gz"), "--data-dir", str(data))
    tokens = {
        "ann": run("token", "create", "--owner", "ann", "--data-dir", str(live)),
        "bob": run("token", "create", "--owner", "bob", "--data-dir", str(live)),
        "narrow": run("token", "create", "--owner", "bob", "--acl", "bind:pr-*", "--data-dir", str(live)),
        "expired": run("token", "create", "--owner", "eve", "--expires", "1d", "--data-dir", str(live)),
    }
    with closing(sqlite3.connect(live / "relay.db")) as database, database:
        database.execute("UPDATE tokens SET expires_at = ? WHERE owner = 'eve'", (time.time() - 60,))
    run("token", "create", "--data-dir", str(folder / "stuck"))
    _directories(folder, data)
    with ExitStack() as stack:
        flags = ("--http=127.0.0.1:0", "--admin=off", "--multi-tenant=true", "--log-format=json", f"--data-dir={live}")
        relay = python("relay", "tunnelrelay", "serve", *flags)
        stack.callback(relay.stop)
        url = str(relay.wait_for_record("relay ready")["relay"])
        agent = python(
            "agent", "tunnelctl", "http", "3000", f"--relay={url}", "--subdomain=shop", "--log=stderr",
            "--log-format=json", env={"TUNNELCTL_AUTHTOKEN": tokens["ann"], "XDG_CONFIG_HOME": str(folder)},
        )  # fmt: skip
        stack.callback(agent.stop)
        local_api = str(agent.wait_for_record("starting web service")["addr"])
        agent.wait_for_record("started tunnel")
        run("backup", str(folder / "keys.tar.gz"), "--data-dir", str(live))
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        web = f"127.0.0.1:{closed.getsockname()[1]}"
        (folder / "web.yml").write_text(f"version: 3\nagent:\n  web_addr: {web}\n")
        stack.enter_context(_deaf(folder / "stuck" / "control.sock"))
        stranger = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stranger))
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        stack.callback(stranger.shutdown)
        yield {
            "d": str(folder), "live": str(live), "relay": url, "port": url.rpartition(":")[2], "long": "x" * 5000,
            "closed": f"http://127.0.0.1:{closed.getsockname()[1]}", "closed_port": str(closed.getsockname()[1]),
            "stranger": f"http://127.0.0.1:{stranger.server_address[1]}", "web": local_api,
            **tokens,
        }  # fmt: skip


@contextmanager
def _deaf(path: Path) -> Iterator[None]:
    """A relay's control socket behind which nothing answers: each connection is closed at once."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def close_each() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=close_each, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


class _Stranger(http.server.BaseHTTPRequestHandler):
    """A web server that is no relay."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _certificates(folder: Path) -> None:
    cert, key = Authority(folder / "ca").issue("localhost")
    shutil.copy(cert, folder / "cert.pem")
    shutil.copy(key, folder / "key.pem")
    other = ec.generate_private_key(ec.SECP256R1())
    for name, hidden in (
        ("other.pem", serialization.NoEncryption()),
        ("locked.pem", serialization.BestAvailableEncryption(b"word")),
    ):
        text = other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
        (folder / name).write_bytes(text)


def _directories(folder: Path, data: Path) -> None:
    (folder / "junk").mkdir()
    (folder / "junk" / "relay.db").write_text("these are some words and no database at all")
    for name in ("newer", "open-keys", "bad-keys"):
        shutil.copytree(data, folder / name)
    with closing(sqlite3.connect(folder / "newer" / "relay.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    for name, mode in (("open-keys", 0o644), ("bad-keys", 0o600)):
        (folder / name / "keys.json").write_text("{}")
        (folder / name / "assertion.json").write_text("{}")
        (folder / name / "assertion.json").chmod(0o600)
        (folder / name / "keys.json").chmod(mode)
