"""Runs real application servers (PHP, gunicorn, Puma, Node and so on), each with an app that shows what it sees.

Every app answers with a JSON object of the variables, or header fields, that it sees. `SERVERS` has their commands.
"""

import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.tools import missing, require_tool
from tests.support.waiting import PATIENCE

Commands = Callable[[Path, int], list[str]]
"""Type of a function that writes a server's files into a directory and returns the command to serve them on a loopback
port."""

_PHP = """<?php
file_get_contents('php://input');
header('Content-Type: application/json');
$seen = array_merge($_SERVER, function_exists('getallheaders') ? getallheaders() : []);
$seen['COOKIES'] = json_encode($_COOKIE);
echo json_encode(array_map(fn ($value) => is_scalar($value) ? strval($value) : '', $seen));
"""
_CGI = """#!{python}
import json, os, sys
sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
print("Content-Type: application/json", end="\\r\\n\\r\\n")
print(json.dumps(dict(os.environ)))
"""
_WSGI = """
import json
def app(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
if __name__ == "__main__":
    import sys
    from wsgiref.simple_server import make_server
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
"""
_RACK = """
require 'json'
run lambda { |env|
  env['rack.input'].read if env['rack.input']
  body = JSON.generate(env.select { |_, value| value.is_a?(String) })
  [200, { 'Content-Type' => 'application/json', 'Content-Length' => body.bytesize.to_s }, [body]]
}
"""
_NODE = """
require('http').createServer((req, res) => {
  req.resume();
  req.on('end', () => {
    const seen = {};
    for (const fields of [req.headers, req.trailers])
      for (const name in fields) seen[name] = String(fields[name]);
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify(seen));
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
"""


def _php(place: Path, port: int) -> list[str]:
    (place / "index.php").write_text(_PHP)
    return [require_tool("php", "php-cli"), "-S", f"127.0.0.1:{port}", str(place / "index.php")]


def _lighttpd(place: Path, port: int, script: str) -> list[str]:
    config = place / "lighttpd.conf"
    config.write_text(
        f'server.modules = ("mod_cgi", "mod_rewrite")\nserver.document-root = "{place}"\nserver.port = {port}\n'
        f'server.bind = "127.0.0.1"\nserver.errorlog = "{place}/errors"\nurl.rewrite-once = (".*" => "/{script}")\n'
        f'cgi.assign = (".php" => "{shutil.which("php-cgi")}", ".cgi" => "")\n'
    )
    return [require_tool("/usr/sbin/lighttpd"), "-D", "-f", str(config)]


def _lighttpd_cgi(place: Path, port: int) -> list[str]:
    _write_cgi(place)
    return _lighttpd(place, port, "app.cgi")


def _php_cgi(place: Path, port: int) -> list[str]:
    require_tool("php-cgi")
    (place / "app.php").write_text(_PHP)
    return _lighttpd(place, port, "app.php")


def _apache(place: Path, port: int) -> list[str]:
    command = require_tool("/usr/sbin/apache2")
    _write_cgi(place)
    modules = ("mpm_event", "authz_core", "alias", "cgi")
    config = place / "apache.conf"
    config.write_text(
        "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        + f'ServerName localhost\nListen 127.0.0.1:{port}\nPidFile "{place}/pid"\nDefaultRuntimeDir "{place}"\n'
        f'ErrorLog "{place}/errors"\nScriptAliasMatch "^/" "{place}/app.cgi"\n'
        f'<Directory "{place}">\nRequire all granted\n</Directory>\n'
    )
    return [command, "-f", str(config), "-DFOREGROUND"]


def _write_cgi(place: Path) -> None:
    script = place / "app.cgi"
    script.write_text(_CGI.format(python=sys.executable))
    script.chmod(0o755)
    place.chmod(0o755)


def _wsgiref(place: Path, port: int) -> list[str]:
    (place / "wsgi_app.py").write_text(_WSGI)
    return [sys.executable, str(place / "wsgi_app.py"), str(port)]


def _waitress(place: Path, port: int) -> list[str]:
    _wsgiref(place, port)
    _require_package("waitress")
    # Newer releases remove forwarding fields by default; this setting keeps them.
    serve = "waitress.serve(wsgi_app.app, listen=sys.argv[2], clear_untrusted_proxy_headers=False)"
    script = f"import sys; sys.path.insert(0, sys.argv[1]); import waitress, wsgi_app; {serve}"
    return [sys.executable, "-c", script, str(place), f"127.0.0.1:{port}"]


def _gunicorn(place: Path, port: int) -> list[str]:
    _wsgiref(place, port)
    _require_package("gunicorn")
    return [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", f"--chdir={place}", "wsgi_app:app"]


def _webrick(place: Path, port: int) -> list[str]:
    (place / "config.ru").write_text(_RACK)
    command = require_tool("rackup", "ruby-rack")
    return [command, "-s", "webrick", "-o", "127.0.0.1", "-p", str(port), str(place / "config.ru")]


def _puma(place: Path, port: int) -> list[str]:
    (place / "config.ru").write_text(_RACK)
    return [require_tool("puma"), "-b", f"tcp://127.0.0.1:{port}", str(place / "config.ru")]


def _node(place: Path, port: int) -> list[str]:
    (place / "app.cjs").write_text(_NODE)
    return [require_tool("node", "nodejs"), str(place / "app.cjs"), str(port)]


SERVERS: dict[str, Commands] = {
    "php": _php,
    "lighttpd with php-cgi": _php_cgi,
    "lighttpd with CGI": _lighttpd_cgi,
    "Apache with CGI": _apache,
    "wsgiref": _wsgiref,
    "waitress": _waitress,
    "gunicorn": _gunicorn,
    "webrick": _webrick,
    "puma": _puma,
    "node": _node,
}


@contextmanager
def app_server(name: str, place: Path) -> Iterator[int]:
    """Context manager: the port of a running application server. The test is skipped where it is not installed.

    Args:
        place: An empty directory for its files.
    """
    port = free_port()
    child = Child(name, SERVERS[name](place, port), env={"HOME": str(place)})
    try:
        _await_port(child, port)
        yield port
    finally:
        child.kill_group()  # Apache, lighttpd and gunicorn have children


def _await_port(child: Child, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return
        except OSError:
            assert child.returncode is None, child.output
            assert time.monotonic() < deadline, child.output
            time.sleep(0.05)


def _require_package(name: str) -> None:
    if find_spec(name) is None:
        missing(f"the Python package {name} is not installed (pip install {name})")


def seen_by_app(body: bytes) -> dict[str, str]:
    """Parse the response of an app of this module: the variables that it sees of the request."""
    found = json.loads(body)
    assert isinstance(found, dict)
    return found
