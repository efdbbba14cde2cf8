"""What both pages share is served whole, and only from `static/`."""

import re

from tunnelctl.look.assets import LOOK, read_assets
from tunnelctl.look.icons import drawings, sprite


def test_shared_files_come_with_their_media_types() -> None:
    shared = read_assets(LOOK)
    assert {name: asset.media_type for name, asset in shared.items()} == {
        "charts.js": "text/javascript",
        "copy.js": "text/javascript",
        "icon.svg": "image/svg+xml",
        "look.css": "text/css",
        "stream.js": "text/javascript",
        "traffic.css": "text/css",
    }
    assert all(asset.content for asset in shared.values())


def test_a_packages_own_files_stand_beside_the_shared_ones_and_licences_are_left_out() -> None:
    both = read_assets(LOOK, "tunnelrelay.dashboard")
    assert {"look.css", "app.css", "htmx.js"} <= both.keys()
    assert not [name for name in both if name.endswith(".txt")]


def test_no_two_packages_have_a_file_of_the_same_name() -> None:
    own = {package: read_assets(package).keys() for package in ("tunnelctl.look", "tunnelrelay.dashboard")}
    assert not own["tunnelctl.look"] & own["tunnelrelay.dashboard"]


def test_the_sprite_has_a_symbol_for_each_drawing() -> None:
    assert re.findall(r'<symbol id="([a-z]+)"', sprite().decode()) == list(drawings())
