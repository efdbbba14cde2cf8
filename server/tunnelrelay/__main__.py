"""`python -m tunnelrelay` and the `tunnelrelay` command."""

import sys
from importlib.util import find_spec

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
    """Runs the command line, or says what to install: the command comes with the agent, its libraries do not."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"error: the relay's libraries are not installed (missing: {', '.join(missing)})\n"
            "hint: pip install 'tunnelctl[server]'\n"
        )
        sys.exit(1)

    from tunnelrelay.cli.main import cli  # only now: it needs some of them

    cli(prog_name="tunnelrelay")


if __name__ == "__main__":
    main()
