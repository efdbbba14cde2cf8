"""The relay as a process: starts it, waits for a signal, stops it."""

import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
from collections.abc import Coroutine
from typing import Any

from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.signals import stopped_by_signals
from tunnelctl.stdio import when_reader_leaves
from tunnelrelay.config import RelayConfig
from tunnelrelay.manage.problems import ManageError
from tunnelrelay.manage.sign_ins import owner_of_admins, sign_in_link
from tunnelrelay.observe.logs import Logs
from tunnelrelay.observe.text import timestamp
from tunnelrelay.relay import Relay
from tunnelrelay.start_problems import StartError
from tunnelrelay.tokens import has_good_token

log = logging.getLogger("tunnelrelay")


def run_relay(config: RelayConfig) -> int:
    """Run a relay until it is asked to stop. Returns the exit code.

    Raises:
        Failure: It cannot start. Where the log is JSON the log says so, for programs read it, and nothing is raised.
        BrokenPipeError: Nothing reads its log any more.
    """
    logs = Logs(config.log_format, config.log_level)
    try:
        _runner(_serve(config, logs))
    except StartError as error:
        if config.log_format == "json":
            log.error("the relay cannot start", extra={"error": str(error), "hint": error.hint})
            return int(Exit.FAILED)
        raise Failure(Exit.FAILED, [f"the relay cannot start: {error}"], error.hint) from error
    finally:
        logs.close()
    return 0


def _runner(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # not on Windows
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
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(stopped.set)

    when_reader_leaves(sys.stderr.fileno(), lose_reader)
    with stopped_by_signals(stopped.set):
        await _run(relay, config, logs, stopped)
    if not has_reader:
        raise BrokenPipeError


async def _run(relay: Relay, config: RelayConfig, logs: Logs, stopped: asyncio.Event) -> None:
    await relay.start()
    relay.metrics.watch("dropped_log_records", lambda: logs.writer.dropped)
    for warning in config.warnings:
        log.warning("%s", warning)
    for what, hint in relay.misgivings:
        log.warning("%s", what, extra={"hint": hint})
    if config.needs_tokens and not await has_good_token(relay.store):
        log.warning("no agent can connect yet: make a token in the dashboard, or with `tunnelrelay token create`")
    log.info(
        "relay ready",
        extra={"url": relay.address.url("*." + relay.address.domain), "http": _text(relay.http),
               "https": _text(relay.https), "admin": _text(relay.admin),
               "redirect_uri": relay.address.redirect_uri("relay", "{connection}", "")},
    )  # fmt: skip
    _tell_redirect_uri(relay)
    await _greet(relay, config, logs)
    # What was made so far lives as long as the relay. Collections that walked all of it took 35 ms at a time, which one
    # request in a hundred felt at full load (p99 of small requests 38 ms with, 3 ms without).
    gc.collect()
    gc.freeze()
    await stopped.wait()
    log.info("relay stopping")
    await relay.stop()


def _tell_redirect_uri(relay: Relay) -> None:
    """What to register at the operator's provider: between strangers' connections it is one of its own."""
    oidc, address = relay.parts.services.sign_ins.oidc, relay.address
    if oidc is not None:
        connection = oidc.connection
        uri = address.redirect_uri(connection.callback, connection.id, address.dashboard_host)
        log.info("dashboard login ready", extra={"issuer": connection.issuer, "redirect_uri": uri})


async def _greet(relay: Relay, config: RelayConfig, logs: Logs) -> None:
    """Write a link for the first administrator to stderr, while there is none.

    Past the log's redactor, which would take the link for the secret that it is; in a log of JSON as a record of it, so
    that a program can read every line.
    """
    try:
        code = await relay.parts.services.sign_ins.first_run(owner_of_admins(needs_tokens=config.needs_tokens))
    except ManageError as error:
        log.warning("whether there is an administrator is not known: %s", error)
        return
    if code is not None:
        said = "no administrator yet: this link makes the first one, once and within an hour"
        link = sign_in_link(relay.address, code)
        if config.log_format == "json":
            record = {"time": timestamp(time.time()), "level": "warning", "logger": log.name, "msg": said, "link": link}
            logs.writer.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        else:
            logs.writer.write(f"{said}:\n  {link}\n".encode())


def _text(name: tuple[str, int] | None) -> str:
    return f"{name[0]}:{name[1]}" if name is not None else "off"
