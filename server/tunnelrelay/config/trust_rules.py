"""Reads a trust rule of the configuration: a table in the file, JSON in a flag or variable.

`services/trust_rules.py` checks the values of a rule and makes a rule of the relay from it.
"""

import json
from dataclasses import dataclass, fields
from typing import Any

EXAMPLE = '{"owner": "acme", "issuer": "https://gitlab.com", "claims": {"project_id": "42"}, "acl": ["bind:pr-*"]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRuleSettings:
    """A trust rule of the configuration, with unchecked values; `policy.trust.TrustRule` describes the fields.

    Attributes:
        audience: The audience that ID tokens must have; "" for the relay's own address.
    """

    owner: str
    issuer: str
    claims: dict[str, str]
    acl: tuple[str, ...]
    audience: str = ""


def trust_rule(text: str) -> TrustRuleSettings:
    """Read one trust rule from a text in JSON. Raises ValueError."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"a trust rule is an object like {EXAMPLE}") from None
    if not isinstance(told, dict):
        raise ValueError(f"a trust rule is an object like {EXAMPLE}")
    known = {field.name for field in fields(TrustRuleSettings)}
    if unknown := sorted(told.keys() - known):
        raise ValueError(f"a trust rule has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    if missing := sorted(known - told.keys() - {"audience"}):
        raise ValueError(f"a trust rule lacks {', '.join(missing)}")
    return TrustRuleSettings(
        owner=_text(told, "owner"),
        issuer=_text(told, "issuer"),
        claims=_texts_by_name(told["claims"]),
        acl=_texts(told["acl"]),
        audience=_text(told, "audience"),
    )


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} of a trust rule is a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError('acl of a trust rule is an array of texts, as in ["bind:pr-*"]')
    return tuple(value)


def _texts_by_name(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError('claims of a trust rule are texts by name, as in {"repository_id": "123456789"}')
    return value
