"""Render the dashboard's Jinja2 templates. Values are escaped, and an undefined variable is an error."""

import functools
import time
from typing import Any

import jinja2
from markupsafe import Markup

from tunnelctl.look.figures import milliseconds
from tunnelctl.look.icons import drawings
from tunnelrelay.dashboard import assets, csrf, navigation
from tunnelrelay.dashboard.form_words import form_words

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def render_template(template: str, **context: Any) -> str:
    """Render a template of the dashboard to HTML."""
    return _environment().get_template(template).render(**context)


def ago(at: float, now: float) -> str:
    """Format how long ago a Unix time is, as in `5 min ago`."""
    return "just now" if now - at < 10 else f"{lasting(now - at)} ago"


def lasting(seconds: float) -> str:
    """Format a duration in its largest unit, as in `5 min`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def stamp(at: float) -> str:
    """Format a Unix time as date and time in UTC, for people and for `<time datetime>`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def percent(share: float) -> str:
    """Format a fraction from 0 to 1 as percent."""
    return f"{share * 100:.0f} %"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tunnelrelay.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(lasting=lasting, stamp=stamp, milliseconds=milliseconds, percent=percent)
    environment.filters.update(form_words=form_words)
    environment.globals.update(
        asset=assets.url_of, ago=ago, is_at=navigation.is_at, csrf_field=csrf.FIELD, icons=_icons()
    )
    return environment


def _icons() -> dict[str, Markup]:
    return {name: Markup(drawing) for name, drawing in drawings().items()}  # noqa: S704 (our own)
