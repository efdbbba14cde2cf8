"""Limits of one owner: links, names, claims in the store, and messages. All tokens of an owner count together."""

from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, fair_share, give_back

MAX_LINKS = 4096
MAX_OWNERS_LINKS = 256
"""Links of one owner: agents on as many machines. All of them are more than a tenant's fair part of `MAX_LINKS`."""
MAX_OWNERS_NAMES = 1024
"""Names an owner holds at once at this relay, those of edges and those whose link was lost a moment ago too; as many
tunnels may join edges. What waits for the store at that moment is not counted yet, and may go beyond by
`BURST_NEW_NAMES` once. Each takes 1.5 kB beside its settings."""
BURST_NEW_NAMES, NEW_NAMES_PER_SECOND = 512, 2.0
"""Binds of an owner that must ask the store, on all links together: a full link twice over, and then one in half a
second. An agent that comes back to a name this relay still remembers needs none; a tcp port of the relay's choice takes
two."""
BURST_SETTINGS, SETTINGS_PER_SECOND = 8 * 1024, 32.0
"""KiB of settings that the relay reads of an owner's binds at once, and in a second after; binds below 1 KiB are not
counted. A KiB costs up to 0.6 ms (a list of IPv6 networks), so that without this an owner who binds the same names
over and over, on 256 links, takes the whole loop. All of an owner's settings (`MAX_OWNERS_RULES`) may come twice at
once, as after a restart of the relay; then they take 2 % of it."""

BURST_APP_REPORTS, APP_REPORTS_PER_SECOND = 1_024, 32.0
"""Reports about local services, on all links of an owner: four of each of 256 agents at once, and 32 in a second
after. Each costs some 50 us, so that an owner whose agents send nothing else takes 0.2 % of the loop."""

BOUNDS = (
    DeclaredBound(
        name="links",
        limit=MAX_LINKS,
        unit="links",
        per="relay",
        when_full="503 with Retry-After",
        worst_bytes=MAX_LINKS * 160,
        holds=("OwnerQuotas._links",),
    ),
    DeclaredBound(
        name="links of one owner",
        limit=MAX_OWNERS_LINKS,
        unit="links",
        per="owner",
        when_full="503 with Retry-After",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="names held, and tunnels that join edges",
        limit=MAX_OWNERS_NAMES,
        unit="names",
        per="owner",
        when_full="the bind is refused",
        worst_bytes=MAX_OWNERS_NAMES * 1_500,
    ),
    DeclaredBound(
        name="binds of names that are new to the relay",
        limit=BURST_NEW_NAMES,
        unit="at once, 2 a second after",
        per="owner",
        when_full="the bind is refused until later",
        worst_bytes=KEY_BYTES,
        holds=("OwnerQuotas._claims",),
    ),
    DeclaredBound(
        name="settings read of binds",
        limit=BURST_SETTINGS,
        unit="KiB at once, 32 KiB a second after",
        per="owner",
        when_full="the bind is refused until later",
        worst_bytes=KEY_BYTES,
        holds=("OwnerQuotas._settings",),
    ),
    DeclaredBound(
        name="news of local services on all links",
        limit=BURST_APP_REPORTS,
        unit="at once, 32 a second after",
        per="owner",
        when_full="further news are ignored",
        worst_bytes=KEY_BYTES,
        holds=("OwnerQuotas._app_reports",),
    ),
)


class OwnerQuotas:
    """Counts what each owner holds of this relay.

    Args:
        monotonic: Seconds.
        max_links: Links of all owners; fewer than `MAX_LINKS` where few files may be open.
    """

    def __init__(self, monotonic: Callable[[], float], *, max_links: int = MAX_LINKS) -> None:
        self._monotonic = monotonic
        self._max_links = max_links
        self._links: dict[str, int] = {}
        self._claims = Buckets(BURST_NEW_NAMES, NEW_NAMES_PER_SECOND)
        self._settings = Buckets(BURST_SETTINGS, SETTINGS_PER_SECOND)
        self._app_reports = Buckets(BURST_APP_REPORTS, APP_REPORTS_PER_SECOND)

    def open_link(self, owner: str, open_links: int) -> bool:
        """Count one more link. False when the owner has too many; then it is not counted.

        Args:
            open_links: Links of all owners that are open.
        """
        held = self._links.get(owner, 0)
        if held >= MAX_OWNERS_LINKS or not fair_share(held, open_links, self._max_links):
            return False
        self._links[owner] = held + 1
        return True

    def close_link(self, owner: str) -> None:
        """Count one link less."""
        give_back(self._links, owner)

    def take_claim(self, owner: str) -> int:
        """Take one claim in the store from the owner's budget. Returns 0, or the seconds to wait when none is left."""
        return self._claims.wait(owner, self._monotonic())

    def take_settings(self, owner: str, size: int) -> int:
        """Take `size` bytes of settings from the owner's budget. Returns 0, or seconds to wait when it is short."""
        kib = size // 1024
        return self._settings.wait(owner, self._monotonic(), kib) if kib else 0

    def take_app_report(self, owner: str) -> bool:
        """Take one message about a local service from the owner's budget. False when none is left."""
        return not self._app_reports.wait(owner, self._monotonic())
