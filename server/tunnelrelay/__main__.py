"""Entry point of `python -m tunnelrelay` and of the `tunnelrelay` command."""

import sys
from importlib.util import find_spec

from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.program import run_program
from tunnelctl.stdio import open_missing

NEEDED = (
    "aiosqlite",
    "alembic",
    "authlib",
    "cryptography",
    "jinja2",
    "joserfc",
    "prometheus_client",
    "sqlalchemy",
    "starlette",
    "uvicorn",
)
"""Packages that only the extra `tunnelctl[server]` installs."""


def main() -> None:
    """Run the command line. If the relay's packages are missing, print how to install them."""
    open_missing()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        what = f"the relay's libraries are not installed (missing: {', '.join(missing)})"
        Failure(Exit.FAILED, [what], "in a checkout of the repository: pip install '.[server]'").show()
        sys.exit(Exit.FAILED)

    from tunnelrelay.cli.main import cli  # imported late, as it needs these packages

    sys.exit(run_program(cli, "tunnelrelay"))


if __name__ == "__main__":
    main()
