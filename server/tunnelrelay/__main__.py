"""`python -m tunnelrelay` and the `tunnelrelay` command."""

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
"""What the `server` extra brings and `pip install tunnelctl` alone does not."""


def main() -> None:
    """Run the command line. Without the relay's libraries, which the agent's package leaves out, say what to
    install."""
    open_missing()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        what = f"the relay's libraries are not installed (missing: {', '.join(missing)})"
        Failure(Exit.FAILED, [what], "in a checkout of the repository: pip install '.[server]'").show()
        sys.exit(Exit.FAILED)

    from tunnelrelay.cli.main import cli  # only now: it needs some of them

    sys.exit(run_program(cli, "tunnelrelay"))


if __name__ == "__main__":
    main()
