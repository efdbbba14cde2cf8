"""No value of ours prints a secret it holds: not in a log, not in a traceback, not in a debugger's window."""

import ast
import dataclasses
import importlib
import re

import msgspec
import pytest

from tests.policy.making import typed
from tests.test_architecture import modules
from tunnelctl.secret import Secret
from tunnelctl.wire.messages import Bind, HeaderEdit, OidcSpec, PolicySpec
from tunnelrelay.keys.keyring import KeyRing, Master
from tunnelrelay.oidc.login.sealed_state import Handoff, State, Switch, Transaction
from tunnelrelay.oidc.providers.token_request import Tokens
from tunnelrelay.oidc.sessions.session import Grant, Record
from tunnelrelay.policy.compile import compile_policy
from tunnelrelay.services.edge_settings import EdgeSecrets

CANARY = "canary-51c3-of-the-tests"

SECRET_NAMES = re.compile(
    r"(^|_)(secret|password|passwords|verifier|nonce|code|d|root|basic_auth|basic|basic_key|policy_key|authtoken"
    r"|id_token|access_token|refresh_token|logout_token|cookie|cookies|cookie_values|sealed|token)$"
)
"""Names of fields whose value must not be read in a log. One that only sounds like it is excused below."""

EXCUSED = {
    "tunnelctl.wire.events:WasReset.code": "why a stream ended",
    "tunnelctl.wire.events:GoAwayReceived.code": "why a link ends",
    "tunnelctl.wire.messages:Refused.code": "why a tunnel was refused",
    "tunnelrelay.agents.tunnel_offers:OfferRefused.code": "an error's name",
    "tunnelrelay.api.auth_middleware:AuthRefusal.code": "an error's name",
    "tunnelrelay.config.config:RelayConfig.dashboard_oidc_client_secret": "of a type that does not print, or None",
    "tunnelrelay.config.dashboard:DashboardSettings.dashboard_oidc_client_secret": "of a type that does not print",
    "tunnelrelay.config.values:Setting.has_secret": "says whether there is one",
    "tunnelrelay.ingress.route:Unwanted.code": "an error's name",
    "tunnelrelay.services.edge_settings:StoredSecrets.client_secret": "says whether there is one",
    "tunnelrelay.services.providers:ProviderView.has_secret": "says whether there is one",
    "tunnelrelay.oidc.sessions.access_tokens:TokenRefused.code": "an error's name",
    "tunnelrelay.pages.errors:ErrorKind.code": "an error's name",
    "tunnelrelay.pages.page:Page.code": "an error's name",
    "tunnelrelay.policy.trust:JobRefused.code": "an error's name",
    "tunnelrelay.policy.verdict:Deny.code": "an error's name",
    "tunnelrelay.store.base:SessionRow.sealed": "sealed by the key ring",
    "tunnelrelay.store.resources:EdgeRow.sealed": "sealed by the key ring",
    "tunnelrelay.store.resources:ProviderRow.sealed": "sealed by the key ring",
}
"""`module:Class.field` to why its value is no secret."""


def printed():
    """`module:Class.field` of every field that is called like a secret and that `repr` shows."""
    for name, path in modules().items():
        defined = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        for kind in (getattr(importlib.import_module(name), kind) for kind in defined):
            for field in shown_fields(kind):
                if SECRET_NAMES.search(field):
                    yield f"{name}:{kind.__name__}.{field}"


def shown_fields(kind):
    """Fields that the `repr` Python or msgspec makes would show; none when the class has written its own."""
    if dataclasses.is_dataclass(kind):
        is_own = not hasattr(kind.__repr__, "__wrapped__")  # the one `dataclass` makes is wrapped against recursion
        fields = [field for field in dataclasses.fields(kind) if field.type not in (Secret, "Secret")]
        return [] if is_own else [field.name for field in fields if field.repr]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [] if "__repr__" in vars(kind) else kind.__struct_fields__
    return []


def test_no_field_that_is_called_like_a_secret_is_printed():
    """Row 158."""
    assert sorted(printed()) == sorted(EXCUSED)


def values():
    """Values that hold `CANARY` wherever they can."""
    oidc = OidcSpec(issuer="https://op.test", client_id="c", client_secret=CANARY)
    guarded = PolicySpec(oidc=oidc)
    key = (CANARY * 2)[:32].encode()
    ring = KeyRing(key, (Master(kid="k", created=1.0, secret=key),))
    yield "spec", Bind(tunnel=1, name="n", upstream="u", policy=guarded)
    yield "passwords", PolicySpec(basic_auth=(f"user:{CANARY}",))
    edited = PolicySpec(
        request_headers=HeaderEdit(add=(("X-Api-Key", CANARY),)), response_headers=HeaderEdit(add=(("X-B", CANARY),))
    )
    yield (
        "header edits",
        (
            edited,
            edited.request_headers,
            edited.response_headers,
            Bind(tunnel=1, name="n", upstream="u", policy=edited),
        ),
    )
    yield "edited policy", compile_policy(edited, upstream="http://a", owner="o", key=b"k" * 32)
    yield "kept edits", EdgeSecrets(request_headers=(CANARY,), response_headers=(CANARY,))
    yield "typed edits", typed(request_header_add=(f"X-A: {CANARY}",), response_header_add=(f"X-B: {CANARY}",))
    yield "policy", compile_policy(guarded, upstream="http://a", owner="o", key=b"k" * 32)
    yield (
        "basic",
        compile_policy(PolicySpec(basic_auth=(f"u:{CANARY}",)), upstream="http://a", owner="o", key=b"k" * 32),
    )
    yield "tokens", Tokens(id_token=CANARY, access_token=CANARY, refresh_token=CANARY)
    yield "grant", Grant(refresh_token=CANARY, access_token=CANARY, id_token=CANARY, nonce=CANARY)
    yield "record", Record(rules_version="r", claims=b"{}", grant=Grant(refresh_token=CANARY))
    yield (
        "handoff",
        Handoff(
            tx="t",
            binding=b"b",
            connection_id="c",
            epoch="e",
            host="h",
            expires_at=1.0,
            code=CANARY,
            description=CANARY,
            return_path=f"/?token={CANARY}",
        ),
    )
    yield (
        "state",
        State(
            tx="t",
            binding=b"b",
            connection_id="c",
            epoch="e",
            host="h",
            issuer="i",
            needs_iss=False,
            expires_at=1.0,
            return_path=f"/?token={CANARY}",
        ),
    )
    yield "switch", Switch(tx="t", binding=b"b", expires_at=1.0, return_path=f"/?token={CANARY}")
    yield (
        "transaction",
        Transaction(
            tx="t",
            browser_secret=CANARY.encode(),
            redirect_uri="r",
            connection_id="c",
            epoch="e",
            host="h",
            started_at=0.0,
            expires_at=1.0,
        ),
    )
    yield "ring", (ring, ring.masters)
    yield "secret", [Secret(CANARY)]


@pytest.mark.parametrize(("name", "value"), list(values()), ids=lambda item: item if isinstance(item, str) else "")
def test_what_holds_a_secret_is_printed_without_it(name, value):
    """Row 158."""
    shown = f"{value!r} {value}"

    assert CANARY not in shown
