"""From the `--jwt-…` options to the `JwtSpec`s the relay is asked for: issuers whose tokens open without a login.

Pure; mistakes are gathered. Whether the rules are narrow enough for an issuer that signs for everybody is the relay's
to say: it has the list of those.
"""

from dataclasses import dataclass, field

from tunnelctl.agent.flagvalues import each, name_value, not_empty
from tunnelctl.agent.oidcrules import issuer
from tunnelctl.agent.options import JWT_AUDIENCE, JWT_CLAIM, JWT_ISSUER, RuleOptions
from tunnelctl.wire.messages import JwtSpec
from tunnelctl.wire.problem import Problem


@dataclass(frozen=True, slots=True)
class _Asked:
    """An issuer and the options that came after it, as they were written."""

    issuer: str
    audiences: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)


def jwt_specs(options: RuleOptions, problems: list[Problem]) -> tuple[JwtSpec, ...]:
    """The specs, none without `--jwt-issuer`; what is wrong is appended to `problems`."""
    asked = _grouped(options, problems)
    if asked and options.basic_auth:
        text = "not together with --basic-auth; both are read from the Authorization header"
        problems.append(Problem(JWT_ISSUER, text))
    return tuple(spec for one in asked for spec in _specs(one, problems))


def _grouped(options: RuleOptions, problems: list[Problem]) -> list[_Asked]:
    """Each issuer with what belongs to it. What belongs to none is refused: a rule that is left out lets others in."""
    asked: list[_Asked] = []
    for flag, value in options.jwt:
        if flag == JWT_ISSUER:
            asked.append(_Asked(value))
        elif not asked:
            problems.append(Problem(flag, f"needs {JWT_ISSUER} ISSUER before it, to which it belongs"))
        elif flag == JWT_AUDIENCE:
            asked[-1].audiences.append(value)
        else:
            asked[-1].claims.append(value)
    return asked


def _specs(asked: _Asked, problems: list[Problem]) -> list[JwtSpec]:
    """The one spec; none when something is wrong with it."""
    if len(asked.audiences) != 1:
        many = "given more than once" if asked.audiences else "missing"
        text = f"{many}, {JWT_ISSUER} {asked.issuer} needs one: whom must the tokens be made for?"
        problems.append(Problem(JWT_AUDIENCE, text))
    claims = each(JWT_CLAIM, asked.claims, name_value, problems)
    issuers = each(JWT_ISSUER, (asked.issuer,), issuer, problems)
    audiences = each(JWT_AUDIENCE, asked.audiences, not_empty, problems)
    return [JwtSpec(issuer=name, audience=audience, claims=claims) for name in issuers for audience in audiences]
