"""The shared design of the relay's dashboard and the agent's inspector: styles, icons, charts and scripts.

Each part of the design is defined once here; the two pages add only what they alone need. `static/look.css` has
colours, type, tables, buttons and forms; `static/traffic.css` and `charts` are about requests. `assets` loads the
files.
"""
