"""The peers, our tunnel and others: how servers and clients of each are started, on 127.0.0.1 and without access logs.

`nginx2` is the yardstick: two plain HTTP proxies with keep-alive connections between them, the least that a relay and
an agent could cost. To add a peer, write its plan and a row in PEERS.
"""

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.plan import Command, Door, Peer, Plan, is_root, local_doors, write
from tests.bench.procs import free_port

ROOT = Path(__file__).resolve().parents[2]
NO_CONFIG = "/nonexistent"
"""A path without a file, given to the agent so that it does not read a developer's own configuration."""
YARDSTICK = "nginx2"
OURS = "ours"

NGINX_CONF = """{user}worker_processes 1; daemon off; pid {folder}/{name}.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_timeout 600; keepalive_requests 100000000; client_max_body_size 0;
  client_body_temp_path {folder}/{name}-b; proxy_temp_path {folder}/{name}-p; fastcgi_temp_path {folder}/{name}-f;
  uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  {body}
}}
"""
NGINX_HOP = """upstream next {{ server 127.0.0.1:{to}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://next; proxy_http_version 1.1; proxy_read_timeout 600;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_field;
    }}
  }}"""
SSHD_CONFIG = """ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
MaxStartups 1000
LogLevel ERROR
"""
SSH_OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "ExitOnForwardFailure=yes",
    "LogLevel=ERROR",
)


def program(name: str) -> str:
    """Return the full path of a program. sshd needs one, and Debian installs it outside of users' PATH."""
    return _find(name) or name


def _find(name: str) -> str | None:
    beside_python = Path(sys.executable).with_name(name)
    if beside_python.exists():
        return str(beside_python)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def missing_programs(peer: Peer) -> list[str]:
    """Return the peer's programs that are not on this machine."""
    return [name for name in peer.programs if _find(name) is None]


def nginx_command(folder: Path, name: str, body: str) -> Command:
    """Return the command of an nginx with one worker. Run by root, the worker stays root to read the bench's folder."""
    user = "user root;\n" if is_root() else ""
    conf = write(folder, f"{name}.conf", NGINX_CONF.format(user=user, folder=folder, name=name, body=body))
    return Command((program("nginx"), "-c", conf, "-e", str(folder / f"{name}.err")))


def _nginx_twice(folder: Path, upstream: int, _count: int) -> Plan:
    outer, inner = free_port(), free_port()
    return Plan(
        servers=(nginx_command(folder, "outer", NGINX_HOP.format(port=outer, to=inner)),),
        clients=(nginx_command(folder, "inner", NGINX_HOP.format(port=inner, to=upstream)),),
        doors=(Door(outer, f"127.0.0.1:{outer}"),),
        server_port=outer,
    )


def _ssh(folder: Path, upstream: int, count: int) -> Plan:
    port, doors = free_port(), local_doors(count)
    for key in ("host_key", "user_key"):
        path = folder / key
        command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True)
    if is_root():
        # sshd's unprivileged child is confined to this empty folder, which Debian creates when the service starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = write(folder, "sshd_config", SSHD_CONFIG.format(port=port, folder=folder))
    options = " ".join(f"-o {option}" for option in SSH_OPTIONS)
    base = f"{program('ssh')} -F none -N -T -p {port} -i {folder}/user_key {options}"
    clients = []
    for door in doors:
        once = f"{base} -R 127.0.0.1:{door.port}:127.0.0.1:{upstream} {getpass.getuser()}@127.0.0.1"
        # ssh ends when its server does; people restart it by a loop.
        clients.append(Command(("sh", "-c", f"while :; do {once}; sleep 1; done")))
    server = Command((program("sshd"), "-D", "-e", "-f", config))
    return Plan(servers=(server,), clients=tuple(clients), doors=doors, server_port=port)


def _frp(folder: Path, upstream: int, count: int) -> Plan:
    port, public = free_port(), free_port()
    server = f'bindAddr = "127.0.0.1"\nbindPort = {port}\nproxyBindAddr = "127.0.0.1"\nvhostHTTPPort = {public}\n'
    servers = (Command((program("frps"), "-c", write(folder, "frps.toml", server + 'log.level = "warn"\n'))),)
    clients = []
    for i in range(count):
        client = (
            f'serverAddr = "127.0.0.1"\nserverPort = {port}\nloginFailExit = false\nlog.level = "warn"\n'
            f'transport.tls.enable = false\n[[proxies]]\nname = "t{i}"\ntype = "http"\nlocalIP = "127.0.0.1"\n'
            f'localPort = {upstream}\ncustomDomains = ["t{i}.localhost"]\n'
        )
        clients.append(Command((program("frpc"), "-c", write(folder, f"frpc{i}.toml", client))))
    doors = tuple(Door(public, f"t{i}.localhost:{public}") for i in range(count))
    return Plan(servers=servers, clients=tuple(clients), doors=doors, server_port=port)


def _chisel(_folder: Path, upstream: int, count: int) -> Plan:
    port, doors = free_port(), local_doors(count)
    server = Command((program("chisel"), "server", "--reverse", "--host", "127.0.0.1", "--port", str(port)))
    base = (program("chisel"), "client", "--max-retry-interval", "5s", f"http://127.0.0.1:{port}")
    clients = tuple(Command((*base, f"R:127.0.0.1:{door.port}:127.0.0.1:{upstream}")) for door in doors)
    return Plan(servers=(server,), clients=clients, doors=doors, server_port=port)


def _rathole(folder: Path, upstream: int, count: int) -> Plan:
    port, doors = free_port(), local_doors(count)
    env = {"RUST_LOG": "warn"}
    server = f'[server]\nbind_addr = "127.0.0.1:{port}"\ndefault_token = "bench"\n'
    clients = []
    for i, door in enumerate(doors):
        server += f'[server.services.t{i}]\nbind_addr = "127.0.0.1:{door.port}"\n'
        client = f'[client]\nremote_addr = "127.0.0.1:{port}"\ndefault_token = "bench"\n'
        client += f'[client.services.t{i}]\nlocal_addr = "127.0.0.1:{upstream}"\n'
        words = (program("rathole"), "--client", write(folder, f"client{i}.toml", client))
        clients.append(Command(words, env))
    servers = (Command((program("rathole"), "--server", write(folder, "server.toml", server)), env),)
    return Plan(servers=servers, clients=tuple(clients), doors=doors, server_port=port)


def ours(module: str, *words: str) -> Command:
    """Return the command that runs a module of this working tree, so that no other installation is measured."""
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'server'}", "XDG_CONFIG_HOME": NO_CONFIG}
    return Command((sys.executable, "-m", module, *words), env)


def relay_command(folder: Path, port: int) -> Command:
    """Return the command of our relay, as people start it on their own machine."""
    words = ("serve", "--http", f"127.0.0.1:{port}", "--domain", "localhost", "--data-dir", str(folder / "data"))
    return ours("tunnelrelay", *words, "--admin", f"127.0.0.1:{free_port()}")


def agent_command(port: int, upstream: int, name: str, *more: str) -> Command:
    """Return the command of our agent, as people start it, without output."""
    words = ("http", f"http://127.0.0.1:{upstream}", "--relay", f"http://127.0.0.1:{port}", "--subdomain", name)
    return ours("tunnelctl", *words, "--log", "false", *more)


def edge_agent_command(port: int, upstream: int, edge: str) -> Command:
    """Return the command of an agent that serves an edge, without output."""
    words = ("http", f"http://127.0.0.1:{upstream}", "--relay", f"http://127.0.0.1:{port}", "--edge", edge)
    return ours("tunnelctl", *words, "--log", "false")


def door_of_name(port: int, name: str) -> Door:
    """Return the door of a tunnel with this subdomain at our relay."""
    return Door(port, f"{name}.localhost:{port}")


def _ours(folder: Path, upstream: int, count: int) -> Plan:
    port = free_port()
    doors = tuple(door_of_name(port, f"t{i}") for i in range(count))
    clients: tuple[Command, ...] = (agent_command(port, upstream, "t0"),)
    if count > 1:
        clients += (ours("tests.bench.links", f"http://127.0.0.1:{port}", str(upstream), str(count)),)
    return Plan(servers=(relay_command(folder, port),), clients=clients, doors=doors, server_port=port)


PEERS = (
    Peer(
        name=YARDSTICK,
        make_plan=_nginx_twice,
        programs=("nginx",),
        hint="apt install nginx-light",
        note="nginx proxied twice: two plain HTTP hops, no tunnel",
        can_multiply=False,
    ),
    Peer(
        name="ssh",
        make_plan=_ssh,
        programs=("ssh", "sshd", "ssh-keygen"),
        hint="apt install openssh-client openssh-server",
        note="ssh -R: forwards TCP, encrypted; its client runs in a restart loop of 1 s",
    ),
    Peer(
        name="frp",
        make_plan=_frp,
        programs=("frps", "frpc"),
        hint="put frps and frpc from https://github.com/fatedier/frp/releases on PATH",
        note="frp, type http, TLS to the server off",
    ),
    Peer(
        name="chisel",
        make_plan=_chisel,
        programs=("chisel",),
        hint="put chisel from https://github.com/jpillora/chisel/releases on PATH",
        note="chisel -R: forwards TCP, ssh inside a websocket",
    ),
    Peer(
        name="rathole",
        make_plan=_rathole,
        programs=("rathole",),
        hint="cargo install rathole, or https://github.com/rapiz1/rathole/releases on PATH",
        note="rathole: forwards TCP, a plain connection per visitor connection",
    ),
    Peer(
        name=OURS,
        make_plan=_ours,
        programs=(),
        hint="",
        note="tunnel http through tunnelrelay, logs and metrics as by default",
    ),
)
