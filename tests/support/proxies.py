"""Runs other reverse proxies, as Debian packages them, to compare what they do with the same bytes as the relay.

`with nginx(app.port, tmp_path) as port:` runs one in front of a service on a loopback port, with minimal settings and a
new connection to the service for each request.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.tools import require_tool

NGINX = """
daemon off; pid {directory}/pid; worker_processes 1; error_log stderr notice; user {user};
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
    uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    retries 0
    http-reuse never
frontend visitors
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server app 127.0.0.1:{upstream}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{upstream} {{
        transport http {{
            keepalive off
        }}
    }}
}}
"""


@contextmanager
def nginx(upstream: int, directory: Path) -> Iterator[int]:
    """Context manager: the port of an nginx in front of the service on port `upstream`."""
    command = require_tool("nginx")
    with _running(NGINX, upstream, directory, "start worker processes", command, "-c") as port:
        yield port


@contextmanager
def haproxy(upstream: int, directory: Path) -> Iterator[int]:
    """Context manager: the port of a HAProxy in front of the service on port `upstream`."""
    command = require_tool("haproxy")
    with _running(HAPROXY, upstream, directory, "Loading success", command, "-W", "-db", "-f") as port:
        yield port


@contextmanager
def caddy(upstream: int, directory: Path) -> Iterator[int]:
    """Context manager: the port of a Caddy in front of the service on port `upstream`."""
    command = require_tool("caddy")
    arguments = (command, "run", "--adapter", "caddyfile", "--config")
    with _running(CADDY, upstream, directory, "serving initial configuration", *arguments) as port:
        yield port


@contextmanager
def _running(settings: str, upstream: int, directory: Path, ready: str, *command: str) -> Iterator[int]:
    port = free_port()
    file = directory / f"{Path(command[0]).name}.conf"
    user = pwd.getpwuid(os.getuid()).pw_name
    file.write_text(settings.format(port=port, upstream=upstream, directory=directory, user=user))
    home = {"XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    child = Child(Path(command[0]).name, [*command, str(file)], env=home)
    try:
        child.wait_for(lambda line: ready in line)
        yield port
    finally:
        child.stop()
