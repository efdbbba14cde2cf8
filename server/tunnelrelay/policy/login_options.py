"""What an owner asks of every login beside who may come in: parameters, strength, age. Checked here.

Also the origins of other sites that may use a visitor's login: text from the owner, compared with `Origin` later.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem

OURS = frozenset(
    {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "code_verifier", "request", "request_uri", "registration", "id_token_hint", "claims",
    }
)  # fmt: skip
"""Parameters the login's safety hangs on, and those that could replace them all (RFC 9101): never the owner's."""
MAX_AGE = 365 * 24 * 3600
MAX_PARAMS = 16
_PARAMS = "oidc.request_params"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CLAIM = re.compile(r"[!-~]{1,256}", re.ASCII)
_CHOICES = {
    "on_recheck_error": ("keep", "login", "502"),
    "email_verified": ("claim", "text", "assumed"),
    "callback": ("relay", "shared", "host"),
}


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """What the texts of a spec mean.

    Attributes:
        max_age: From the request parameter of that name; the ID token is held to it.
    """

    max_age: int | None


def login_options(spec: OidcSpec, problems: list[Problem]) -> LoginOptions:
    """Returns what is asked of logins; what is wrong with it is appended to `problems`."""
    for name, choices in _CHOICES.items():
        if getattr(spec, name) not in choices:
            problems.append(Problem(f"oidc.{name}", f"{name} is one of {', '.join(choices)}"))
    if not _CLAIM.fullmatch(spec.groups_claim):
        problems.append(Problem("oidc.groups_claim", "the groups claim is no name of a claim"))
    wrong = [acr for acr in spec.require_acr if not _CLAIM.fullmatch(acr)]
    problems += [Problem("oidc.require_acr", f"{acr[:64]!r} is no acr value") for acr in wrong]
    texts = [text for name, value in spec.request_params if (text := _param_problem(name, value))]
    problems += [Problem(_PARAMS, text) for text in texts]
    if spec.callback == "host" and ("response_mode", "form_post") in spec.request_params:
        # A form that another site sends comes without the login's cookie, and no hop in between brings it along.
        text = "with the callback at the endpoint's own host, response_mode cannot be form_post"
        problems.append(Problem(_PARAMS, text))
    names = [name for name, _ in spec.request_params]
    if len(names) > MAX_PARAMS or len(set(names)) != len(names):
        problems.append(Problem(_PARAMS, f"a request parameter is given twice, or there are more than {MAX_PARAMS}"))
    return LoginOptions(max_age=_max_age(dict(spec.request_params).get("max_age"), problems))


def origins_of(texts: Iterable[str], problems: list[Problem]) -> frozenset[bytes]:
    """Returns origins as browsers write them in `Origin`: scheme, host, and port where it is not the scheme's own."""
    origins = set()
    for text in texts:
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            url = httpx.URL("")
        host = url.raw_host.decode("ascii")
        origin = f"{url.scheme}://{host}" + ("" if url.port is None else f":{url.port}")
        has_more = url.path not in ("", "/") or url.query or url.fragment or set(text) & set("@?#* ")
        if url.scheme not in ("http", "https") or not host or has_more:
            shown = f"{text[:128]!r} is not an origin such as https://app.example"
            problems.append(Problem("oidc.allow_origins", shown))
        origins.add(origin.encode())
    return frozenset(origins)


def _param_problem(name: str, value: str) -> str:
    if not _NAME.fullmatch(name) or not value.isprintable() or not value or len(value) > 512:
        return f"the request parameter {name[:64]!r} has no proper name or value"
    if name in OURS:
        return f"the request parameter {name} is the relay's own"
    if name == "response_mode" and value not in ("query", "form_post"):
        return "response_mode is query or form_post"
    return ""


def _max_age(text: str | None, problems: list[Problem]) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_AGE):
        problems.append(Problem(_PARAMS, f"max_age is a number of seconds up to {MAX_AGE}"))
        return None
    return int(text)
