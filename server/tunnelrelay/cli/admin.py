"""The `tunnelrelay admin` commands: create an administrator, a sign-in link or an API key, and list administrators.

They write to the store, with and without a running relay. A running relay is only asked for the dashboard's URL, which
may depend on the flags that it was started with.
"""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import click

from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.authtokens import DEFAULT_OWNER
from tunnelrelay.app import control_socket
from tunnelrelay.cli.audit import seconds
from tunnelrelay.cli.store import COMMAND, Place, Result, when, with_store
from tunnelrelay.cli.table import print_table
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.audit_writer import row_of
from tunnelrelay.services.actor import EVERYTHING, Actor
from tunnelrelay.services.api_keys import ApiKeys
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.sign_ins import SIGN_IN_PATH, SignIns, owner_of_admins
from tunnelrelay.services.users import ADMIN, Users
from tunnelrelay.store.base import Store
from tunnelrelay.store.resources import ApiKeyRow, UserRow

ACTOR = Actor(user_id="", name=COMMAND, owner=DEFAULT_OWNER, is_admin=True, via=COMMAND)
"""The actor of changes made by commands: an administrator, as users who can run commands may do everything."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The dashboard that a sign-in link leads to.

    Attributes:
        url: The dashboard's URL, without a path.
        owner: The default owner of an administrator.
        is_guessed: Whether the URL comes from the configuration, as no relay runs; it may start with other flags.
    """

    url: str
    owner: str
    is_guessed: bool = False


@dataclass(frozen=True, slots=True)
class _Services:
    """The services behind the `tunnelrelay admin` commands."""

    users: Users
    api_keys: ApiKeys
    sign_ins: SignIns


def create(
    place: Place, config: RelayConfig, name: str, owner: str | None, email: str, is_link: bool, *, as_json: bool
) -> None:
    """Create an administrator, or find a user by name, and print a link that signs the user in once.

    Args:
        config: The configuration that a relay on this machine would have.
        is_link: Whether to make only a new link, for an existing user.
    """
    dashboard = _dashboard(place, config)

    async def action(store: Store) -> tuple[UserRow, str]:
        async def done(services: _Services) -> tuple[UserRow, str]:
            known = await store.users.find(name=name)
            if is_link and known is None:
                raise Failure(
                    Exit.FAILED,
                    [f"there is no user called {name}"],
                    "`tunnelrelay admin list` lists administrators, the dashboard all users",
                )
            if not is_link and known is not None:
                raise Failure(
                    Exit.FAILED,
                    [f"there is a user called {name} already"],
                    "give --link for a new link, or another --name",
                )
            user = known or await services.users.create(ACTOR, name, owner or dashboard.owner, ADMIN, email)
            return user, await services.sign_ins.invite(None, user.id)

        return await _managing(store, done)

    user, code = with_store(place, action, may_make=True)
    link = f"{dashboard.url}{SIGN_IN_PATH}#code={code}"
    if as_json:
        click.echo(json.dumps({**_record(user), "link": link}, indent=2))
        return
    click.echo(f"{user.role} {user.name} of owner {user.owner}; this link signs in once, within an hour:", err=True)
    click.echo(link)
    if dashboard.is_guessed:
        click.echo("hint: no relay runs here; at another address than this one, the link is as good", err=True)


def make_key(place: Place, name: str, scopes: Sequence[str], description: str, expires: str, *, as_json: bool) -> None:
    """Create an API key for a user and print it. Only the key goes to stdout, for scripts.

    Args:
        scopes: What the key may do, of `services.actor.SCOPES`; none for everything.
        expires: How long the key is valid, as in 30d; "" for ever.
    """
    ends = time.time() + seconds(expires) if expires else None

    async def action(store: Store) -> tuple[UserRow, tuple[ApiKeyRow, str]]:
        async def done(services: _Services) -> tuple[UserRow, tuple[ApiKeyRow, str]]:
            user = await store.users.find(name=name)
            if user is None:
                raise Failure(
                    Exit.FAILED,
                    [f"there is no user called {name}"],
                    f"make one: `tunnelrelay admin create --name {name}`",
                )
            made = await services.api_keys.create(
                ACTOR, user_id=user.id, scopes=scopes or (EVERYTHING,), description=description, expires_at=ends
            )
            return user, made

        return await _managing(store, done)

    user, (row, text) = with_store(place, action)
    if as_json:
        record = {"id": row.id, "user": user.name, "scopes": row.scopes, "expires_at": when(row.expires_at)}
        click.echo(json.dumps({"key": text, **record}, indent=2))
        return
    click.echo(f"API key {row.id} of {user.role} {user.name}, kept as a digest; it is not shown again:", err=True)
    click.echo(text)
    click.echo("hint: for `tunnel api`: tunnel config add-api-key KEY, or TUNNELCTL_API_KEY", err=True)


def show(place: Place, *, as_json: bool) -> None:
    """Print the administrators, oldest first."""

    async def admins(store: Store) -> list[UserRow]:
        return await store.users.all(role=ADMIN)

    found = with_store(place, admins)
    if as_json:
        click.echo(json.dumps([_record(user) for user in found], indent=2))
    elif found:
        print_table(("name", "owner", "email", "created", "last seen", "state"), map(_row, found))
    else:
        click.echo(f"no administrators in {place}", err=True)


async def _managing(store: Store, action: Callable[["_Services"], Awaitable[Result]]) -> Result:
    """Run `action` with services that work on this store, and write its audit events to the store."""
    audit = Audit(clock=time.time, node=COMMAND)
    base = ServiceBase(
        store=store,
        ring=KeyRing.generate(),  # any key will do: these services encrypt nothing
        policy_key=b"",
        address=PublicAddress(scheme="https", domain="localhost", port=443),
        audit=audit,
        clock=time.time,
        cool_seconds=0.0,
    )
    try:
        keys = ApiKeys(base)
        return await action(_Services(Users(base), keys, SignIns(base, keys)))
    except ManageError as error:
        raise Failure(
            Exit.FAILED, [error.message], error.hint or "tunnelrelay admin create --help lists what it takes"
        ) from error
    finally:
        await store.add_audit([row_of(event) for event in audit.take()])


def _dashboard(place: Place, config: RelayConfig) -> Dashboard:
    """Return the dashboard of the relay that runs on this machine, or of one started with this configuration."""
    try:
        done = control_socket.tell(place.data_dir, control_socket.Order(asks=True))
    except control_socket.ControlError:
        done = None
    if done is not None and done.dashboard:
        return Dashboard(done.dashboard, done.owner)
    address = config.public_address(
        http=config.http.port if config.http else None, https=config.https.port if config.https else None
    )
    owner = owner_of_admins(needs_tokens=config.needs_tokens)
    return Dashboard(address.url(address.dashboard_host), owner, is_guessed=True)


def _record(user: UserRow) -> dict[str, str | None]:
    return {
        "id": user.id,
        "name": user.name,
        "owner": user.owner,
        "role": user.role,
        "email": user.email,
        "created_at": when(user.created_at),
        "last_seen_at": when(user.last_seen_at),
        "disabled_at": when(user.disabled_at),
    }


def _row(user: UserRow) -> tuple[str | None, ...]:
    state = "good" if user.disabled_at is None else f"disabled {when(user.disabled_at)}"
    return user.name, user.owner, user.email, when(user.created_at), when(user.last_seen_at) or "never", state
