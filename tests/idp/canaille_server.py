"""canaille (PyPI) as a provider for the journeys: its own two-step login and consent pages, everything in memory.

    python canaille_server.py '{"port": 9500, "client_id": ..., "client_secret": ..., "redirect_uris": [...],
                                "post_logout_redirect_uris": [...], "users": {...}}'

The password is the login name. What sets it apart: it signs with RS512, says nothing of `email_verified`, requires
PKCE, sends `iss`, and keeps an ID token's `aud` empty unless `"audience": true`.
"""

import json
import logging
import secrets
import sys
from typing import Any

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.backends.memory.backend import MemoryBackend
from canaille.oidc import provider
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server


def settings(port: int) -> dict[str, Any]:
    """canaille's configuration; without a mail server and a captcha, as on a laptop."""
    logging_to_stderr = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "logging.StreamHandler"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    }
    return {
        "SECRET_KEY": "only-for-the-tests",
        "SERVER_NAME": f"localhost:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "SESSION_COOKIE_SECURE": False,
        "CANAILLE": {"DATABASE": "memory", "LOGGING": logging_to_stderr},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)]},
    }


def populate(config: dict[str, Any]) -> None:
    """The client, the users, and a group for each group that a user is in."""
    client = models.Client(
        client_id=config["client_id"],
        client_secret=config["client_secret"],
        client_name="tunnel",
        redirect_uris=config["redirect_uris"],
        post_logout_redirect_uris=config.get("post_logout_redirect_uris", []),
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",
    )
    Backend.instance.save(client)
    if config.get("audience"):
        client.audience = [client]
        Backend.instance.save(client)
    members: dict[str, list[Any]] = {}
    for login, claims in config["users"].items():
        user = models.User(
            user_name=login,
            formatted_name=claims["name"],
            family_name=claims["name"],
            emails=[claims["email"]],
            password=login,
        )
        Backend.instance.save(user)
        for group in claims["groups"]:
            members.setdefault(group, []).append(user)
    for name, users in members.items():
        Backend.instance.save(models.Group(display_name=name, members=users))


any_of = MemoryBackend.do_query


def all_of(backend: MemoryBackend, model: type, *_args: object, **conditions: object) -> list[Any]:
    """What meets all conditions. canaille 0.3.6's own meets any: it may take another unused code for the one asked."""
    first, *rest = [any_of(backend, model, **{name: value}) for name, value in conditions.items()] or [
        any_of(backend, model)
    ]
    return [found for found in first if all(any(found.id == other.id for other in others) for others in rest)]


def main() -> None:
    config = json.loads(sys.argv[1])
    MemoryBackend.do_query = all_of
    # Two of its own access tokens, made within one second for one user, are the same JWT, which it then finds twice.
    provider.generate_access_token = lambda client, grant_type, user, scope: secrets.token_urlsafe(32)
    app = create_app(settings(config["port"]))
    with app.app_context(), Backend.instance.session():
        populate(config)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", config["port"], app, threaded=True)
    print(json.dumps({"msg": "listening", "issuer": f"http://localhost:{config['port']}"}), flush=True)
    server.serve_forever()


main()
