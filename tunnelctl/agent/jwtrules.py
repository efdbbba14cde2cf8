"""From the `--jwt-…` options to the `JwtSpec` the relay is asked for: an issuer whose tokens open without a login.

Pure; mistakes are gathered. Whether the rules are narrow enough for an issuer that signs for everybody is the relay's
to say: it has the list of those.
"""

from tunnelctl.agent.flagvalues import each, name_value, not_empty
from tunnelctl.agent.oidcrules import issuer
from tunnelctl.agent.options import RuleOptions
from tunnelctl.wire.messages import JwtSpec


def jwt_specs(options: RuleOptions, problems: list[str]) -> tuple[JwtSpec, ...]:
    """The specs, none without `--jwt-issuer`; what is wrong is appended to `problems`."""
    if not options.jwt_issuer:
        given = {"--jwt-audience": options.jwt_audience, "--jwt-claim": options.jwt_claim}
        problems.extend(f"{flag}: needs --jwt-issuer ISSUER" for flag, value in given.items() if value)
        return ()
    if options.basic_auth:
        problems.append("--jwt-issuer: not together with --basic-auth; both are read from the Authorization header")
    if not options.jwt_audience:
        problems.append("--jwt-audience: missing, --jwt-issuer needs it: whom must the tokens be made for?")
    claims = each("--jwt-claim", options.jwt_claim, name_value, problems)
    issuers = each("--jwt-issuer", (options.jwt_issuer,), issuer, problems)
    audiences = each("--jwt-audience", (options.jwt_audience,) * bool(options.jwt_audience), not_empty, problems)
    return tuple(JwtSpec(issuer=name, audience=audience, claims=claims) for name in issuers for audience in audiences)
