"""Runs a relay as a process: starts it, waits for a signal to stop, and stops it."""

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any

from tunnelctl.cli.exits import Exit, Failure, has_colour
from tunnelctl.eventlog import EventLog
from tunnelctl.openfiles import raise_limit
from tunnelctl.signals import stopped_by_signals
from tunnelctl.stdio import when_reader_leaves
from tunnelrelay.agents.authtokens import has_good_token
from tunnelrelay.app.relay import Relay
from tunnelrelay.app.start_problems import StartError
from tunnelrelay.app.start_screen import StartFacts, can_show, listening, relay_url, start_screen
from tunnelrelay.app.systemd import logs_to_journal, notify
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.ingress.files import visitors_at_once, warn_when_few
from tunnelrelay.observe.logs import Logs
from tunnelrelay.observe.text import timestamp
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.sign_ins import owner_of_admins, sign_in_link

log = EventLog("tunnelrelay")


def run_relay(config: RelayConfig) -> int:
    """Run a relay until it is asked to stop. Returns the exit code.

    Raises:
        Failure: The relay cannot start. With a JSON log the error is logged instead of raised, for the programs that
            read the log.
        BrokenPipeError: The process that read the log has closed its end of the pipe.
    """
    has_times = config.log_format == "json" or not logs_to_journal()
    logs = Logs(config.log_format if has_times else "journal", config.log_level)
    if reason := raise_limit():
        log.warning("limit of open files not raised", reason=reason)
    warn_when_few(visitors_at_once())
    try:
        _runner(_serve(config, logs))
    except StartError as error:
        if config.log_format == "json":
            log.error("relay cannot start", error=str(error), hint=error.hint)
            return int(Exit.FAILED)
        raise Failure(Exit.FAILED, [f"the relay cannot start: {error}"], error.hint) from error
    finally:
        logs.close()
    return 0


def _runner(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # there is no uvloop for Windows
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _serve(config: RelayConfig, logs: Logs) -> None:
    relay = Relay(config, access=logs.access)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    has_reader = True

    def lose_reader() -> None:
        nonlocal has_reader
        has_reader = False
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stopped.set)

    when_reader_leaves(sys.stderr.fileno(), lose_reader)
    with stopped_by_signals(stopped.set):
        await _run(relay, config, logs, stopped)
    if not has_reader:
        raise BrokenPipeError


async def _run(relay: Relay, config: RelayConfig, logs: Logs, stopped: asyncio.Event) -> None:
    has_screen = can_show(config, is_terminal=sys.stderr.isatty())
    # The screen shows what the log would say about the start, unless a log level was set.
    with logs.hushed() if has_screen and "log_level" not in config.given else contextlib.nullcontext():
        await relay.start()
        facts = await start_facts(relay)
        if has_screen:
            # Written past the log, whose redactor would remove the administrator's link.
            logs.writer.write(start_screen(facts, has_colour=has_colour()).encode())
    relay.metrics.watch("dropped_log_records", lambda: logs.writer.dropped)
    if not has_screen:
        _log_facts(facts, config, logs)
    # Objects made so far live as long as the relay. Garbage collections that scan them took 35 ms each (p99 of small
    # requests at full load 38 ms with, 3 ms without).
    gc.collect()
    gc.freeze()
    notify("READY=1")
    await stopped.wait()
    notify("STOPPING=1")
    log.info("relay stopping")
    await relay.stop()


async def start_facts(relay: Relay) -> StartFacts:
    """Return the facts that a relay shows or logs when it has started."""
    config, oidc, address = relay.config, relay.parts.services.sign_ins.oidc, relay.address
    uri = ""
    if oidc is not None:
        uri = address.redirect_uri(oidc.connection.callback, oidc.connection.id, address.dashboard_host)
    return StartFacts(
        config=config,
        address=address,
        http=listening(relay.http),
        https=listening(relay.https),
        admin=listening(relay.admin),
        can_connect=await has_good_token(relay.store),
        admin_link=await _admin_link(relay, config),
        redirect_uri=uri,
        warnings=(*((warning, "") for warning in config.warnings), *relay.misgivings),
    )


async def _admin_link(relay: Relay, config: RelayConfig) -> str:
    """Return the link that creates the first administrator; "" when there is one already, or the store fails."""
    try:
        code = await relay.parts.services.sign_ins.first_run(owner_of_admins(needs_tokens=config.needs_tokens))
    except ManageError as error:
        log.warning("search for an administrator failed", error=error)
        return ""
    return sign_in_link(relay.address, code) if code is not None else ""


def _log_facts(facts: StartFacts, config: RelayConfig, logs: Logs) -> None:
    """Log the facts that the start screen shows. The administrator's link is written past the log."""
    address = facts.address
    for what, hint in facts.warnings:
        log.warning("start warning", warning=what, **({"hint": hint} if hint else {}))
    if config.needs_tokens and not facts.can_connect:
        log.warning(
            "no agent can connect yet", hint="make a token in the dashboard, or with `tunnelrelay token create`"
        )
    log.info(
        "relay ready",
        url=address.url(f"*.{address.domain}"),
        relay=relay_url(facts),
        http=facts.http or "off",
        https=facts.https or "off",
        admin=facts.admin or "off",
        tcp_ports=",".join(map(str, config.tcp_ports)) or "off",
        redirect_uri=address.redirect_uri("relay", "{connection}", ""),
    )
    if facts.redirect_uri:
        log.info("dashboard login ready", issuer=config.dashboard_oidc, redirect_uri=facts.redirect_uri)
    if facts.admin_link:
        _write_link(facts.admin_link, config, logs)


def _write_link(link: str, config: RelayConfig, logs: Logs) -> None:
    """Write the first administrator's link to stderr.

    The link bypasses the log's redactor, which would remove it as a secret. With a JSON log the line is a JSON record
    too, so that programs can read every line.
    """
    said = "no administrator yet: this link makes the first one, once and within an hour"
    if config.log_format == "json":
        record = {
            "time": timestamp(time.time()),
            "level": "warning",
            "logger": "tunnelrelay",
            "msg": said,
            "link": link,
        }
        logs.writer.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    else:
        logs.writer.write(f"{said}:\n  {link}\n".encode())
