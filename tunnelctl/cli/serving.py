"""Runs an agent for `tunnel http`, `tunnel tcp`, `tunnel tunnel` and `tunnel start`, with the requested output."""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never, cast

import click

from tunnelctl.agent.outcome import (
    AllEnded,
    Failed,
    Invalid,
    NameTaken,
    NoRelay,
    NotAllowed,
    Outcome,
    Stopped,
    Unreachable,
)
from tunnelctl.cli.exits import Exit, Failure, Mistake
from tunnelctl.cli.flag_values import StartFlags, TunnelFlags
from tunnelctl.cli.log_formats import LEVELS, STYLES, Style
from tunnelctl.cli.persona import persona_of
from tunnelctl.cli.settings import Settings, SettingsInvalid, build_tunnel, resolve
from tunnelctl.localapi.address import WebAddressTaken
from tunnelctl.policy.named import is_named

if TYPE_CHECKING:
    from tunnelctl.cli.run import ApiSettings


def serve(
    command: str, flags: TunnelFlags | StartFlags, given: dict[str, Any], *, checks_providers: bool = False
) -> None:
    """Serve until the agent is stopped.

    Args:
        command: The command as typed, for the hint after a usage error.
        given: Values of the flags in `flags.LOGGING`.
        checks_providers: Check the OpenID providers first, except named ones, which the relay has checked.

    Raises:
        Failure: The flags are invalid, or the agent ended by itself.
    """
    settings = _settings(command, flags)
    style, level = _log_form(given, settings)
    if checks_providers:
        settings = _with_provider_notices(settings)
    from tunnelctl.cli.output_mode import can_draw, choose_output_mode, opened
    from tunnelctl.cli.run import run_agent

    mode = choose_output_mode(
        given["log"] or settings.file.log, settings.file.console_ui, is_terminal=can_draw(sys.stdout)
    )
    is_bare = False
    persona = persona_of(click.get_current_context())
    with opened(mode, settings.agent, persona, style=style, level=level, notices=settings.notices) as output:
        try:
            outcome = run_agent(settings.agent, output, _api_of(settings))
            failure = failure_of(outcome, settings.agent.relay.url)
        except WebAddressTaken as error:
            failure = Failure(Exit.FAILED, [str(error)], "give another web_addr in the file, or false for none")
            is_bare = mode.log == "stdout"
        is_told = failure is not None and output.fail(failure)
    if failure is not None:
        if is_bare:
            click.echo(str(failure))  # programs that control `ngrok` look for this error after the log
        raise click.exceptions.Exit(failure.code) if is_told else failure


def _settings(command: str, flags: TunnelFlags | StartFlags) -> Settings:
    try:
        return resolve(flags, environ=os.environ, stdin=sys.stdin)
    except SettingsInvalid as error:
        raise Failure(Exit.USAGE, error.problems, error.hint or f"{command} --help lists what it takes") from error


def _api_of(settings: Settings) -> "ApiSettings | None":
    if settings.web is None:
        return None
    from tunnelctl.cli.run import ApiSettings

    version = persona_of(click.get_current_context()).version
    return ApiSettings(
        settings.web, lambda definition: build_tunnel(definition, os.environ), version, settings.inspect_bytes
    )


def _with_provider_notices(settings: Settings) -> Settings:
    policies = [tunnel.policy for tunnel in settings.agent.tunnels]
    logins = [policy.oidc for policy in policies if policy.oidc and not is_named(policy.oidc.issuer)]
    tokens = [spec for policy in policies for spec in policy.jwt]
    if not logins and not tokens:
        return settings
    from tunnelctl.cli.oidc import checked_before_start

    return replace(settings, notices=(*settings.notices, *checked_before_start(logins, tokens)))


def _log_form(given: dict[str, Any], settings: Settings) -> tuple[Style, str]:
    """Return format and level of the log, from the flags or the file."""
    style = given["log_format"] or settings.file.log_format or "term"
    level = given["log_level"] or settings.file.log_level or "info"
    problems = [
        f"{settings.file.where(key)} is one of {', '.join(choices)}"
        for key, value, choices in (("log_format", style, STYLES), ("log_level", level, tuple(LEVELS)))
        if value not in choices
    ]
    if problems:
        raise Failure(Exit.USAGE, problems, "put the file right, or give the flag of this name")
    return cast(Style, style), level


def failure_of(outcome: Outcome, relay: str) -> Failure | None:
    """Return the error for the way in which an agent ended; None when it was asked to stop."""
    match outcome:
        case Stopped():
            return None
        case NotAllowed(message, hint, error):
            return Failure(Exit.NOT_ALLOWED, [f"the relay at {relay} does not allow this: {message}"], hint, error)
        case NameTaken(message, hint, error):
            return Failure(Exit.NAME_TAKEN, [message], hint, error)
        case Invalid(message, hint, error):
            return Failure(Exit.USAGE, [f"the relay cannot do what was asked: {message}"], hint, error)
        case NoRelay(message, hint):
            return Failure(Exit.NO_RELAY, [f"there is no relay at {relay}: {message}"], hint)
        case Unreachable(message, hint):
            return Failure(Exit.NO_RELAY, [f"the relay cannot be reached: {message}"], hint)
        case Failed(message, hint, error):
            return Failure(Exit.FAILED, [f"the relay at {relay} refused: {message}"], hint, error)
        case AllEnded(ends):
            failures = {name: failure for name, end in ends if (failure := failure_of(end, relay)) is not None}
            first = next(iter(failures.values()))
            mistakes = [Mistake(f"{name}: {failure}", failure.hint) for name, failure in failures.items()]
            return Failure(Exit(first.code), mistakes, error=first.error)
        case _:
            assert_never(outcome)
