"""Turns what users typed for the settings of a policy, as flags or in a file, into a `PolicySpec`. Does no I/O.

The agent checks everything before it connects and reports all mistakes at once; the relay checks again, with more
knowledge. A mistake must never publish an app with less protection than its owner asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from tunnelctl.policy.check import check_policy
from tunnelctl.policy.durations import parse_duration
from tunnelctl.policy.fields import FIELDS, Kind, PolicyField, of_part
from tunnelctl.policy.named import is_named
from tunnelctl.policy.values import issuer
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec
from tunnelctl.wire.problem import Problem, joined
from tunnelctl.wire.texts import is_loopback

MISSING = "missing"
"""Placeholder for a required value that was not given, so that the mistake is not reported twice. A spec with it is
never used."""


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """The texts that were typed for settings, each with the path of its setting, in the order in which they were typed.

    The order matters for token issuers: an audience and claims belong to the issuer before them. A switch that is on
    has the text `true`.
    """

    entries: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def of(self, path: str) -> tuple[str, ...]:
        """Return the texts typed for one setting."""
        return tuple(text for name, text in self.entries if name == path)

    def given(self) -> list[PolicyField]:
        """Return the settings for which a text was typed, in the order of the table."""
        names = {name for name, _ in self.entries}
        return [row for row in FIELDS if row.path in names]

    def mapped(self, change: Callable[[PolicyField, str], str]) -> "PolicyTexts":
        """Return a copy with each text replaced by the result of `change`."""
        rows = {row.path: row for row in self.given()}
        return PolicyTexts(tuple((path, change(rows[path], text)) for path, text in self.entries))


class PolicyTextsInvalid(ValueError):
    """The typed texts do not form a valid policy.

    Attributes:
        problems: Every mistake, with the path of its setting.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(joined(problems))
        self.problems = problems


def build_policy(texts: PolicyTexts) -> PolicySpec:
    """Return the policy for the typed texts.

    Raises:
        PolicyTextsInvalid: Lists every mistake in the texts.
    """
    problems: list[Problem] = []
    spec = PolicySpec(
        oidc=_oidc(texts, problems),
        jwt=_jwt(texts, problems),
        rate_limit=_rate_limit(texts, problems),
        request_headers=HeaderEdit(**_members("request_headers", texts, problems)),
        response_headers=HeaderEdit(**_members("response_headers", texts, problems)),
        **{row.name: value for row in FIELDS if row.path == row.part for value in _value(row, texts, problems)},
    )
    problems += _plain_http(spec)
    problems += check_policy(spec)
    if problems:
        places = {row.path: place for place, row in enumerate(FIELDS)}
        raise PolicyTextsInvalid(sorted(problems, key=lambda problem: places[problem.field]))
    return spec


def read_text(row: PolicyField, text: str) -> tuple[Any, ...]:
    """Parse the text of a setting into values in the form of wire messages; several if a flag accepts a list in one
    text.

    Raises:
        ValueError: The text does not have the form of such a value. `check_field` later checks the value itself.
    """
    return _READERS.get(row.kind, _as_it_is)(text)


def _oidc(texts: PolicyTexts, problems: list[Problem]) -> OidcSpec | None:
    given = [row for row in texts.given() if row.part == "oidc"]
    issuers = texts.of("oidc.issuer")
    if not issuers:
        problems += [Problem(row.path, "needs --oidc ISSUER") for row in given]
        return None
    client = {"client_id": "", "client_secret": ""}
    if is_named(issuers[-1]):
        text = f"not together with --oidc={issuers[-1]}; the relay knows it"
        problems += [Problem(row.path, text) for row in given if row.is_of_provider]
    else:
        missing = [name for name in client if not texts.of(f"oidc.{name}")]
        problems += [Problem(f"oidc.{name}", "missing, --oidc needs it") for name in missing]
        client |= dict.fromkeys(missing, MISSING)
    return OidcSpec(**client | _members("oidc", texts, problems))


def _jwt(texts: PolicyTexts, problems: list[Problem]) -> tuple[JwtSpec, ...]:
    """Return the token issuers, each with the settings typed after it.

    Settings typed before the first issuer are refused: ignoring a rule would let more programs in.
    """
    groups: list[list[tuple[str, str]]] = []
    for path, text in texts.entries:
        if path == "jwt.issuer":
            groups.append([(path, text)])
        elif path.startswith("jwt.") and groups:
            groups[-1].append((path, text))
        elif path.startswith("jwt."):
            problems.append(Problem(path, "needs --jwt-issuer ISSUER before it, to which it belongs"))
    return tuple(_token_issuer(PolicyTexts(tuple(group)), problems) for group in groups)


def _token_issuer(texts: PolicyTexts, problems: list[Problem]) -> JwtSpec:
    (name,), audiences = texts.of("jwt.issuer"), texts.of("jwt.audience")
    if len(audiences) != 1:
        many = "given more than once" if audiences else "missing"
        text = f"{many}, --jwt-issuer {name} needs one: whom must the tokens be made for?"
        problems.append(Problem("jwt.audience", text))
    return JwtSpec(**{"audience": MISSING} | _members("jwt", texts, problems))


def _rate_limit(texts: PolicyTexts, problems: list[Problem]) -> RateLimitSpec | None:
    if texts.of("rate_limit.limit"):
        return RateLimitSpec(**_members("rate_limit", texts, problems))
    problems += [Problem(row.path, "needs --rate-limit N/PERIOD") for row in texts.given() if row.part == "rate_limit"]
    return None


def _members(part: str, texts: PolicyTexts, problems: list[Problem]) -> dict[str, Any]:
    """Return the fields of one struct for which texts were typed."""
    return {row.name: value for row in of_part(part) for value in _value(row, texts, problems)}


def _value(row: PolicyField, texts: PolicyTexts, problems: list[Problem]) -> tuple[Any, ...]:
    """Return the single value of a setting; an empty tuple if nothing, or the default, was typed."""
    values: list[Any] = []
    for text in texts.of(row.path):
        try:
            values += read_text(row, text)
        except ValueError as error:
            problems.append(Problem(row.path, str(error)))
    if row.is_list:
        return (tuple(values),) if values else ()
    return tuple(value for value in values[-1:] if not row.default or value != row.default)


def _plain_http(spec: PolicySpec) -> Iterable[Problem]:
    """Report issuers on other machines that are used without TLS."""
    issuers = [("oidc.issuer", spec.oidc.issuer)] if spec.oidc is not None else []
    for path, text in [*issuers, *(("jwt.issuer", jwt.issuer) for jwt in spec.jwt)]:
        if is_named(text) or issuer(text) or urlsplit(text).scheme != "http":
            continue
        if not is_loopback(urlsplit(text).hostname or ""):
            yield Problem(path, f"{text[:128]}: an issuer is reached over https (plain http only on this machine)")


def _as_it_is(text: str) -> tuple[str]:
    return (text,)


def _pair(text: str) -> tuple[tuple[str, str]]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{text[:128]!r} is not NAME=VALUE")
    return ((name, value),)


def _network(text: str) -> tuple[str]:
    try:
        return (str(ip_network(text.strip())),)
    except ValueError:
        return (text.strip(),)  # the setting's check says what is wrong


def _origins(text: str) -> tuple[str, ...]:
    word, colon, origins = text.partition(":")
    if word != "allow" or not colon or not origins:
        raise ValueError(f"{text[:128]!r} is not allow:ORIGIN, as in allow:https://app.example")
    return tuple(origins.split(","))


def _header(text: str) -> tuple[tuple[str, str]]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("it takes 'Name: value'")  # does not repeat the text, which may hold a secret
    return ((name.strip(), value.strip(" \t")),)


_READERS: Mapping[Kind, Callable[[str], tuple[Any, ...]]] = {
    "duration": lambda text: (parse_duration(text),),
    "email": lambda text: (text.strip().lower(),),
    "domain": lambda text: (text.strip().lower().removeprefix("@"),),
    "pair": _pair,
    "network": _network,
    "origin": _origins,
    "header": _header,
    "header_name": lambda text: tuple(name.strip() for name in text.split(",")),
    "switch": lambda _text: (True,),
}
"""Parser for the texts of each kind of setting; for kinds not listed, the text is the value."""
