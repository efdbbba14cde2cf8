"""Builds the API's ASGI app: authentication, the routes of all resources, and the OpenAPI document."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tunnelrelay.address import PublicAddress
from tunnelrelay.api import (
    addrs,
    api_keys,
    audit,
    backends,
    credentials,
    domains,
    edge_modules,
    edge_routes,
    edges,
    endpoints,
    problem,
    providers,
    sessions,
    traffic,
    trust_rules,
    tunnels,
    users,
)
from tunnelrelay.api.auth_middleware import Authenticates, AuthMiddleware
from tunnelrelay.api.schema import SchemaPage, describe, methods_at
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.services import Services

RESOURCES = (
    edges,
    edge_routes,
    edge_modules,
    backends,
    domains,
    addrs,
    endpoints,
    tunnels,
    credentials,
    trust_rules,
    api_keys,
    providers,
    users,
    sessions,
    traffic,
    audit,
)
"""The modules of the API's resources, in the order in which the API reference lists them."""


def build_api(services: Services, address: PublicAddress) -> ASGIApp:
    """Return the API as an ASGI app. The scope of each request must hold a `PageRequest`."""
    return authenticated(build_routes(services, address), address, services.api_keys)


def authenticated(app: FastAPI, address: PublicAddress, keys: Authenticates) -> AuthMiddleware:
    """Return the app of `build_routes` behind the authentication middleware."""
    return AuthMiddleware(app, address=address, keys=keys, schema=SchemaPage(app.state.schema))


def build_routes(services: Services, address: PublicAddress) -> FastAPI:
    """Return the FastAPI app with every route, without authentication. Its OpenAPI document is in `state.schema`."""
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        exception_handlers={
            ManageError: problem.of_manage,
            RequestValidationError: problem.of_validation,
            HTTPException: problem.of_http,
            Exception: problem.of_failure,
        },
    )
    for resource in RESOURCES:
        app.include_router(resource.routes(services))
    app.state.schema = describe(app, address)
    app.state.methods_at = methods_at(app.state.schema)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
