"""The base of every service: store, keys, access checks and audit events.

`authorize` checks the actor's access to a kind of resource, `visible` to a single one: for a member, resources of other
owners do not exist. No other module checks access. Read next: `services.py`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.texts import MAX_DESCRIPTION, MAX_METADATA
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.authtokens import owner_problem
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import MAX_CHANGE, Audit
from tunnelrelay.observe.feed import Publish
from tunnelrelay.policy.connections import RefusesIssuer, calls_any
from tunnelrelay.policy.limits import KEY_BYTES, Buckets
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, invalid, missing
from tunnelrelay.store.base import Store, StoreError, UnstorableError

MAX_PAGE = 1000
"""Maximum rows of one page, whatever limit is requested, as a page is built in memory."""
TOPICS = {"backend": "edges", "token": "credentials", "trust_rule": "credentials", "api_key": "credentials"}
"""Topics for live pages, by the first word of an event's kind; for others it is that word in the plural."""
BURST_CHANGES, CHANGES_A_MINUTE = 600, 30
"""Maximum changes of one user, through dashboard and API together: at once, which is enough to set up a hundred edges
with all their modules, and per minute. Limits on the number of resources do not limit how many are created: a user who
created and revoked tokens without end wrote 15 GB a day. A change writes at most about 5 KB for its row and 8 KB of
audit event, so that one user can write at most 30 x 1440 x 13 KB = 560 MB a day. The budgets of 8,192 users are kept
(about 1 MB); beyond that, the user without changes for the longest time gets a new one."""
BOUNDS = (
    DeclaredBound(
        name="changes through dashboard and API",
        limit=BURST_CHANGES,
        unit=f"at once, {CHANGES_A_MINUTE} a minute after",
        per="user",
        when_full="429 with Retry-After",
        worst_bytes=KEY_BYTES,
        holds=("ServiceBase.changes",),
    ),
)
MAX_EXPIRY = 100 * 365.25 * 86_400.0
"""Maximum seconds until an expiry. A later time is a mistake, probably milliseconds."""
MAX_VALUE = 300
"""Maximum characters of one changed value in an audit event."""
NOT_TOLD = frozenset({"metadata"})
"""Fields whose values an audit event does not contain, only that they are set: owners may write keys of their programs
into them, and a text does not show whether it is a key."""


class HasOwner(Protocol):
    """Interface of any resource that belongs to an owner."""

    @property
    def owner(self) -> str:
        """Owner of the resource."""


T = TypeVar("T", bound=HasOwner)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBase:
    """The parts that every service uses.

    Attributes:
        ring: Encrypts secrets for the store.
        policy_key: Key of the digests that identify a configuration.
        clock: Function that returns Unix time.
        cool_seconds: Seconds for which other owners cannot have a name after it was given up.
        publish: Notifies live pages of changes; see `observe.feed`.
        refuses_issuer: Function that decides which providers this relay may call.
        monotonic: Function that returns monotonic seconds, for limits.
        changes: Budget of changes of each user.
    """

    store: Store
    ring: KeyRing
    policy_key: bytes = field(repr=False)
    address: PublicAddress
    audit: Audit
    clock: Callable[[], float]
    cool_seconds: float
    publish: Publish = lambda topic: None
    refuses_issuer: RefusesIssuer = calls_any
    monotonic: Callable[[], float] = time.monotonic
    changes: Buckets = field(default_factory=lambda: Buckets(BURST_CHANGES, CHANGES_A_MINUTE / 60))
    _owner_turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    # Access checks

    def authorize(self, actor: Actor, area: str, access: Access, *, admin_only: bool = False) -> None:
        """Check that the actor may read or write resources of this area.

        Every change calls it; write access takes one change from the user's budget.

        Raises:
            ManageError: FORBIDDEN, BUSY for a user who changes too much.
        """
        if not actor.may(area, access):
            scope = f"{area}:{access.value}"
            raise ManageError(
                Kind.FORBIDDEN, "scope_missing", f"This key lacks the scope {scope}.", f"Use a key with {scope}."
            )
        if admin_only:
            check_admin(actor)
        if access is Access.WRITE:
            self.count_change(actor)

    def count_change(self, actor: Actor | None) -> None:
        """Take one change from the user's budget. Commands at the relay's own terminal have no limit.

        Raises:
            ManageError: BUSY when the budget is used up.
        """
        if actor is None or not actor.user_id:
            return
        if wait := self.changes.wait(actor.user_id, self.monotonic()):
            self.audit.record("rate.limited", reason="changes", owner=actor.owner, actor=actor.user_id, peer=actor.peer)
            raise ManageError(
                Kind.BUSY,
                "too_many_changes",
                f"A user may make {BURST_CHANGES} changes at once, and then {CHANGES_A_MINUTE} a minute.",
                f"Try again in {wait} s.",
                retry_after=wait,
            )

    def visible(self, actor: Actor, thing: T | None, what: str) -> T:
        """Return the resource, if it exists and the actor may see it.

        Args:
            what: Name of the resource in sentences, such as `edge`.

        Raises:
            ManageError: MISSING, equal for a resource that does not exist and for another owner's.
        """
        if thing is None or not actor.owns(thing.owner):
            raise missing(what)
        return thing

    def owner_for(self, actor: Actor, requested: str | None) -> str:
        """Return the owner for a new resource: the actor's own; an administrator may give another one.

        Raises:
            ManageError: FORBIDDEN for a member who gives another owner, INVALID for an invalid owner.
        """
        if requested is None or requested == actor.owner:
            return actor.owner
        if not actor.is_admin:
            raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may set something up for others.")
        if problem := owner_problem(requested):
            raise invalid({"owner": problem})
        return requested

    # Steps of a change

    def owner_turn(self, owner: str) -> asyncio.Lock:
        """Return the lock under which an owner's rows of all kinds are counted, written and deleted.

        Without it, concurrent calls could all find room for one more row, or delete a row that another call begins to
        need. Each relay has its own locks.
        """
        return self._owner_turns.setdefault(owner, asyncio.Lock())

    @contextmanager
    def store_calls(self) -> Iterator[None]:
        """Translate errors of the store: `StoreError` to `ManageError` AWAY, `UnstorableError` to INVALID."""
        try:
            yield
        except UnstorableError as error:
            raise invalid({error.field: error.problem}) from error
        except StoreError as error:
            raise ManageError(
                Kind.AWAY, "store_away", "The relay's database does not answer at the moment.", "Try again."
            ) from error

    def record(
        self,
        actor: Actor | None,
        kind: str,
        *,
        id: str = "",
        owner: str = "",
        host: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
        **details: str,
    ) -> None:
        """Record an audit event about a change.

        Args:
            actor: The user; None for the relay itself.
            id: Id of the changed resource.
            before, after: Its fields before and after; only differences are stored. Never a secret.
        """
        self.audit.record(
            kind,
            owner=owner,
            host=host,
            actor=actor.user_id if actor is not None else "",
            peer=actor.peer if actor is not None else "",
            request_id=actor.request_id if actor is not None else "",
            **{"id": id, **_via(actor), **diff(before, after), **details},
        )
        area = kind.partition(".")[0]
        self.publish(f"{TOPICS.get(area, f'{area}s')}:{owner}")


def check_admin(actor: Actor) -> None:
    """Check that the user is an administrator. Raises `ManageError` FORBIDDEN."""
    if not actor.is_admin:
        raise ManageError(Kind.FORBIDDEN, "admin_only", "Only administrators may do this.")


def diff(before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> dict[str, str]:
    """Return what changed, as `before` and `after` of an audit event: short JSON objects of the differing fields."""
    old, new = before or {}, after or {}
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    sides = (("before", before, old), ("after", after, new))
    return {
        side: _short({name: other.get(name) for name in names}) for side, values, other in sides if values is not None
    }


def _short(values: Mapping[str, object]) -> str:
    """Return JSON within the length limit: long values are cut, and if that is not enough only names are kept."""
    present = {name: value for name, value in values.items() if value not in (None, "", [], (), {})}
    texts = {name: "(not shown)" if name in NOT_TOLD else _value(value) for name, value in present.items()}
    text = json.dumps(texts, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= MAX_CHANGE else json.dumps(dict.fromkeys(texts, "…"), ensure_ascii=False)[:MAX_CHANGE]


def _value(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if len(text) > MAX_VALUE:
        return text[:MAX_VALUE] + "…"
    return text if isinstance(value, str) else value


def _via(actor: Actor | None) -> dict[str, str]:
    if actor is None:
        return {}
    return {"via": actor.via} | ({"api_key": actor.api_key_id} if actor.api_key_id else {})


def check_texts(*, description: str | None = None, metadata: str | None = None) -> None:
    """Check the description and metadata that an owner gives to a resource.

    Raises:
        ManageError: INVALID for a text that is too long or has control characters.
    """
    fields = {}
    for name, text, most in (("description", description, MAX_DESCRIPTION), ("metadata", metadata, MAX_METADATA)):
        if text is not None and len(text.encode("utf-8", "surrogatepass")) > most:
            fields[name] = f"at most {most} bytes"
        elif text is not None and any(_is_control(character) for character in text):
            fields[name] = "no control characters"
    if fields:
        raise invalid(fields)


def expiry_problem(expires_at: float | None, now: float) -> str:
    """Return why this is not a valid expiry; "" when it is."""
    if expires_at is None or now < expires_at <= now + MAX_EXPIRY:
        return ""
    return "this time is past already" if expires_at <= now else "more than 100 years from now"


def _is_control(character: str) -> bool:
    return (character < " " and character not in "\t\n\r") or "\ud800" <= character <= "\udfff"


def page_size(limit: int) -> int:
    """Return the number of rows for a page, within `MAX_PAGE`."""
    return max(1, min(limit, MAX_PAGE))
