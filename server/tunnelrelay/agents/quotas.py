"""Quotas per owner: links, names, claims in the store, and messages. All tokens of an owner count together."""

from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import KEY_BYTES, Buckets, fair_share, give_back

MAX_LINKS = 4096
MAX_OWNERS_LINKS = 256
"""Links that one owner may have open at once, which allows agents on 256 machines."""
MAX_OWNERS_NAMES = 1024
"""Names an owner may hold at once at this relay, with those of edges and those whose link was lost a moment ago; as
many tunnels may join edges. Binds that still wait for the store are not counted, so that an owner can exceed the limit
by `BURST_NEW_NAMES` once. One name takes 1.5 kB beside its settings."""
BURST_NEW_NAMES, NEW_NAMES_PER_SECOND = 512, 2.0
"""Budget of an owner's binds that must claim a name in the store, on all links together: twice the tunnels of a full
link at once, and two per second after that. An agent that reconnects to a name this relay still remembers needs no
claim; a tcp port of the relay's choice takes two from the budget."""
BURST_SETTINGS, SETTINGS_PER_SECOND = 8 * 1024, 32.0
"""KiB of settings in an owner's binds that the relay reads at once, and per second after that; binds below 1 KiB are
not counted. A KiB costs up to 0.6 ms (a list of IPv6 networks): without this limit, an owner who binds the same names
again and again on 256 links takes the whole event loop. The burst lets all of an owner's settings (`MAX_OWNERS_RULES`)
arrive twice, as after a restart of the relay; the rate takes at most 2 % of the loop."""

BURST_APP_REPORTS, APP_REPORTS_PER_SECOND = 1_024, 32.0
"""Budget of an owner's reports about local services, on all links together: four from each of 256 agents at once, and
32 per second after that. One costs some 50 us, so that an owner whose agents send nothing else takes 0.2 % of the
event loop."""

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
    """Counts each owner's open links, and the budgets of its claims, settings and reports.

    Args:
        monotonic: Returns monotonic seconds.
        max_links: Links of all owners together; less than `MAX_LINKS` where the process may open only few files.
    """

    def __init__(self, monotonic: Callable[[], float], *, max_links: int = MAX_LINKS) -> None:
        self._monotonic = monotonic
        self._max_links = max_links
        self._links: dict[str, int] = {}
        self._claims = Buckets(BURST_NEW_NAMES, NEW_NAMES_PER_SECOND)
        self._settings = Buckets(BURST_SETTINGS, SETTINGS_PER_SECOND)
        self._app_reports = Buckets(BURST_APP_REPORTS, APP_REPORTS_PER_SECOND)

    def open_link(self, owner: str, open_links: int) -> bool:
        """Count one more link of the owner. False when the owner has too many; then it is not counted.

        Args:
            open_links: Links of all owners that are open now.
        """
        held = self._links.get(owner, 0)
        if held >= MAX_OWNERS_LINKS or not fair_share(held, open_links, self._max_links):
            return False
        self._links[owner] = held + 1
        return True

    def close_link(self, owner: str) -> None:
        """Count one link of the owner less."""
        give_back(self._links, owner)

    def take_claim(self, owner: str) -> int:
        """Take one claim of a name from the owner's budget. Returns 0, or the seconds to wait when none is left."""
        return self._claims.wait(owner, self._monotonic())

    def take_settings(self, owner: str, size: int) -> int:
        """Take `size` bytes of settings from the owner's budget. Returns 0, or the seconds until so many are left."""
        kib = size // 1024
        return self._settings.wait(owner, self._monotonic(), kib) if kib else 0

    def take_app_report(self, owner: str) -> bool:
        """Take one report about a local service from the owner's budget. False when none is left."""
        return not self._app_reports.wait(owner, self._monotonic())
