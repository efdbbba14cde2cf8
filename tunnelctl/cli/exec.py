"""`tunnel exec`: runs a command, such as a smoke test, while a local app is served at a public address."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from tunnelctl.cli.command import Command
from tunnelctl.cli.exits import Failure, RunExit, say
from tunnelctl.cli.flag_values import TunnelFlags, flags_from
from tunnelctl.cli.flags import CONNECTION, NO_LOG, UPSTREAM, option
from tunnelctl.cli.policy_flags import ORDER, flags_in, texts_of, with_bare_values

if TYPE_CHECKING:
    from tunnelctl.forwarding.guard import Worker

SECTIONS = {
    "Run": (
        option("--up", "Command of the shell that starts the app [default: it runs already].", "CMD"),
        option("--ready-path", "Path that must answer with 2xx [default: / with anything below 500].", "PATH"),
        click.option(
            "--ready-timeout",
            type=click.FloatRange(min=0, min_open=True, max=3600),
            default=60.0,
            metavar="SECONDS",
            help="How long to wait until the app answers at its public address [default: 60].",
        ),
        click.option(
            "--require-hits",
            type=click.IntRange(min=0),
            default=1,
            metavar="NUMBER",
            help="Requests that must reach the app [default: 1].",
        ),
    ),
    "Relay": CONNECTION,
    "Address": (
        option("--subdomain", "Name under the relay's domain.", "NAME"),
        option("--domain", "Whole host name instead.", "HOST"),
        option("--url", "Whole public address instead.", "URL"),
    ),
    "Login": flags_in("Login"),
    "Other rules": flags_in("Other rules"),
    "Headers": flags_in("Headers"),
    "App": (UPSTREAM,),
    "-": NO_LOG,  # hidden: an empty section is not written
}
EXAMPLES = (
    (
        "tunnel exec 3000 -- ./smoke.sh",
        "Run a script against the app on port 3000; TUNNELCTL_URL has its address.",
    ),
    (
        "tunnel exec 3000 --up 'npm start' --ready-path /healthz --relay embedded -- npx playwright test",
        "Start the app and a relay for the tests alone.",
    ),
)


class _ExecCommand(Command):
    """Keeps the order of options, and reports mistakes with the exit code of a run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = with_bare_values(self.with_plain_switches(args))
        try:
            _, _, order = self.make_parser(ctx).parse_args([*args])
            ctx.meta[ORDER] = [one.name for one in order]
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise Failure(RunExit.USAGE, [error.format_message().rstrip(".")], "tunnel exec --help lists it") from error


@click.command(
    "exec",
    cls=_ExecCommand,
    sections=SECTIONS,
    examples=EXAMPLES,
    short_help="Run a command while a local web service has a public address.",
)
@click.argument("address", metavar="PORT|HOST:PORT|URL")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.pass_context
def exec_(ctx: click.Context, /, **given: Any) -> None:
    """Run COMMAND while the web service at PORT, HOST:PORT or URL has a public address.

    COMMAND starts once the app has answered through the relay, and finds TUNNELCTL_URL, TUNNELCTL_HOST,
    TUNNELCTL_TOKEN (a bearer token for this endpoint and run) and TUNNELCTL_LOCAL_URL (an address here that adds name
    and token) in its environment. The exit code is COMMAND's, or 110 to 118 when the app was not served or not asked.
    With --relay embedded a relay runs for COMMAND alone.
    """
    flags = flags_from(TunnelFlags, ctx, inspect=False, policy=texts_of(given, ctx.meta[ORDER]))
    if not hasattr(os, "fork"):
        raise Failure(RunExit.USAGE, ["tunnel exec cannot run on this system"], "use tunnelctl.forward_sync in Python")
    from tunnelctl.forwarding.guard import guarded

    def work(worker: "Worker") -> int:
        return asyncio.run(_work(flags, given, worker))

    ctx.exit(guarded(work))


async def _work(flags: TunnelFlags, given: dict[str, Any], worker: "Worker") -> int:
    """Run the command in the worker process. Returns the exit code, after the error is reported."""
    from tunnelctl.cli.run_command import CommandFailed, RunPlan, run_command
    from tunnelctl.cli.run_settings import run_settings
    from tunnelctl.forwarding.errors import TunnelError

    path = given["ready_path"] or None
    try:
        async with run_settings(flags, path) as agent:
            plan = RunPlan(
                agent=agent,
                command=given["command"],
                up=given["up"],
                ready_path=path,
                ready_timeout=given["ready_timeout"],
                require_hits=given["require_hits"],
            )
            await run_command(plan, worker)
    except TunnelError as error:
        say("error", error.message)
        if error.hint:
            say("hint", error.hint)
        return error.exit_code
    except CommandFailed as error:
        if error.text:
            say("error", error.text)
        return error.code
    return 0
