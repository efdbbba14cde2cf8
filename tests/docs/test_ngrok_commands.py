"""What `tunnel api` has of `ngrok api`, command by command and flag by flag: ours, or told as a difference.

ngrok's commands are taken from its own Python client, which is made from the same description of its API.
"""

import inspect
import re
from collections.abc import Iterator

import ngrok
from ngrok import datatypes

from tests.support.tools import ROOT
from tunnelctl.cli.api_schema import Operation, groups

TEXT = (ROOT / "docs" / "reference" / "cli.md").read_text()
SECTION = TEXT.partition("### Differences from ngrok api\n")[2].partition("\n### ")[0]
OURS: dict[str, Operation] = {f"{group.name} {one.verb}": one for group in groups() for one in group.operations}
MODULES = {
    "backend": datatypes.EndpointBackendMutate,
    "ip-restriction": datatypes.EndpointIPPolicyMutate,
    "oidc": datatypes.EndpointOIDC,
    "request-headers": datatypes.EndpointRequestHeaders,
    "response-headers": datatypes.EndpointResponseHeaders,
}
"""Modules of a route that ngrok has too -> what its client calls the fields of one."""


def with_hyphens(name: str) -> str:
    return name.replace("_", "-")


def clients(of: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """The parts of ngrok's client by what `ngrok api` calls them: `backends tunnel-group`."""
    names = getattr(of, "_fields", ()) or [
        name for name, what in inspect.getmembers(type(of)) if isinstance(what, property)
    ]
    for name in names:
        part = getattr(of, name)
        below = (*path, with_hyphens(name))
        if hasattr(part, "_fields"):
            yield from clients(part, below)
        elif not isinstance(part, str):
            yield " ".join(below), part


def ngroks() -> dict[str, list[str]]:
    """Every command of ngrok's, with the names of its arguments and flags."""
    found = {}
    for group, client in clients(ngrok.Client("key")):
        for name, method in inspect.getmembers(type(client), inspect.isfunction):
            if not name.startswith("_"):
                found[f"{group} {with_hyphens(name)}"] = list(inspect.signature(method).parameters)[1:]
    return found


NGROKS = ngroks()
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line.startswith("| `")]
DIFFERENT = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
INSTEAD = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1] if len(row) > 2 else "")}
ONLY_HERE = set(re.findall(r"`([^`]+)`", SECTION.partition("Only here: ")[2]))


def is_told(name: str) -> bool:
    """Whether the table says that this is not as in ngrok; a row may end in `…` for all that begin so."""
    return any(name == each or (each.endswith("…") and f"{name}.".startswith(each[:-1])) for each in DIFFERENT)


def is_group_told(group: str) -> bool:
    module = re.sub(r"^edge-modules https-edge-(route-)?", "", group)
    return is_told(group) or (module != group and is_told(f"--{module}"))


def names_of(one: Operation) -> set[str]:
    """Our arguments and flags as ngrok's client would call them; those of a module by the module."""
    flags = {field.name.partition(".")[0] for field in (*one.body, *one.query)}
    return {*flags, *one.arguments}


def test_ngroks_client_was_read():
    assert len(NGROKS) > 150
    assert NGROKS["edges https-routes get"] == ["edge_id", "id"]


def test_every_command_of_ngroks_is_ours_or_told():
    missing = [command for command in NGROKS if command not in OURS and not is_told(command)]

    assert [command for command in missing if not is_group_told(command.rpartition(" ")[0])] == []
    assert OURS.keys() & NGROKS.keys() >= {"edges https create", "credentials create", "application-sessions delete"}


def test_every_flag_of_ngroks_is_ours_or_told():
    silent = [
        f"{command} {name}"
        for command in NGROKS.keys() & OURS.keys()
        for name in NGROKS[command]
        if name not in {*names_of(OURS[command]), "module"} and not is_told(f"--{with_hyphens(name)}")
    ]

    assert silent == []


def test_every_field_of_ngroks_modules_is_ours_or_told():
    silent = []
    for module, described in MODULES.items():
        ours = names_of(OURS[f"edge-modules https-edge-route-{module} replace"])
        fields = [name for name, what in inspect.getmembers(described) if isinstance(what, property)]
        assert fields
        silent += [
            f"--{module}.{with_hyphens(name)}"
            for name in fields
            if name not in ours and not is_told(f"--{module}.{with_hyphens(name)}")
        ]

    assert silent == []


def test_what_is_told_to_be_different_is():
    ours = {*OURS, *(group.name for group in groups()), *(name.split()[0] for name in OURS)}
    flags = {field.flag for one in OURS.values() for field in (*one.body, *one.query)}

    assert DIFFERENT & ours == set()
    assert {name for name in DIFFERENT if name in flags} <= {"--name", "--id"}  # of one command, as their rows say
    assert INSTEAD - ours - flags - {"TUNNELCTL_API_KEY", "file:PATH", "env:NAME", "-"} == set()


def test_what_only_we_have_is_told():
    own = {command for command in OURS if command not in NGROKS}
    modules = {f"edge-modules https-edge-route-{name} " for name in ONLY_HERE}

    def is_own(command: str) -> bool:
        return command in ONLY_HERE or command.split()[0] in ONLY_HERE or command.startswith(tuple(modules))

    assert [command for command in own if not is_own(command)] == []
    assert [command for command in NGROKS if command in ONLY_HERE or command.split()[0] in ONLY_HERE] == []
