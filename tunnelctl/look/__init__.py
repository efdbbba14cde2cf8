"""What the relay's dashboard and the agent's inspector look like: styles, drawings, charts and the scripts of both.

Each fact of the design stands here once; the two pages bring only what one of them has alone. `static/look.css` has the
colours, type, tables, buttons and forms, `static/traffic.css` and `charts` what is said about requests. `assets` finds
the files.
"""
