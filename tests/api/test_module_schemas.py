"""Modules of routes are what the table of settings says, and lead to settings and back without a loss."""

import msgspec
import pytest

from tunnelctl.policy.fields import FIELDS
from tunnelctl.policy.modules import MODULES
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec
from tunnelrelay.api.module_mapping import view_of_module, with_module_body
from tunnelrelay.api.module_schemas import BODIES, VIEWS
from tunnelrelay.services.edge_settings import KEPT, EdgeSettings, RouteSettings, StoredSecrets

POLICY = PolicySpec(
    oidc=OidcSpec(
        issuer="https://login.acme.example",
        client_id="shop",
        client_secret="",
        scopes=("groups",),
        allow_emails=("ann@acme.example",),
        allow_domains=("acme.example",),
        allow_groups=("staff",),
        allow_claims=(("dept", "it"), ("dept", "hr")),
        idle_seconds=60,
        max_seconds=120,
        recheck_seconds=0,
        on_recheck_error="login",
        groups_claim="roles",
        email_verified="text",
        request_params=(("prompt", "login"),),
        require_acr=("gold",),
        callback="host",
        bearer=("", "api"),
        allow_origins=("https://app.acme.example",),
        allow_preflight=True,
        audience="https://api.acme.example",
        public_paths=("/health",),
    ),
    jwt=(JwtSpec(issuer="https://ci.example", audience="a", claims=(("ref", "main"),)),),
    cidr_allow=("10.0.0.0/8",),
    cidr_deny=("10.1.0.0/16",),
    request_headers=HeaderEdit(add=(("X-A", KEPT),), remove=("X-B",)),
    response_headers=HeaderEdit(remove=("Server",)),
    rate_limit=RateLimitSpec(limit="100/1m:20", by="address"),
)
"""Every setting but the password has another value than by default."""
SETTINGS = EdgeSettings(policy=POLICY, route=RouteSettings(id="r", created_at=0.0), users=("ann",))
HELD = StoredSecrets(client_secret=True, users=("ann",))


def test_the_settings_of_this_test_are_none_by_default():
    """Else a setting that is lost on the way would not be noticed."""
    for path in (row.path for row in FIELDS if row.kind not in ("secret", "password") and row.module):
        part, _, name = path.partition(".")
        value, plain = getattr(POLICY, part), getattr(PolicySpec(), part)
        if part == "oidc" and path not in ("oidc.issuer", "oidc.client_id"):
            value, plain = getattr(value, name), getattr(OidcSpec(issuer="", client_id="", client_secret=""), name)
        assert value != plain, path


@pytest.mark.parametrize("module", MODULES)
def test_every_setting_of_a_module_has_a_field_in_its_models(module):
    names = {"issuers"} if module == "jwt" else {row.api_name for row in MODULES[module].rows}

    assert names <= set(BODIES[module].model_fields)
    assert ({"users"} if module == "basic_auth" else names) <= set(VIEWS[module].model_fields)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "basic_auth"])
@pytest.mark.parametrize("is_on", [True, False])
def test_an_answer_that_is_sent_back_changes_nothing(module, is_on):
    kept = msgspec.structs.replace(SETTINGS, disabled=() if is_on else (module,))
    answer = view_of_module(kept, HELD, module)

    assert answer is not None
    assert answer.enabled is is_on
    assert with_module_body(kept, module, BODIES[module].model_validate(answer.model_dump())) == kept


def test_no_answer_holds_a_header_value_or_a_password():
    answers = [view_of_module(SETTINGS, HELD, module) for module in MODULES]

    assert all(answers)
    assert KEPT not in repr(answers)
