"""The dashboard: what an administrator or a member sees of the relay in a browser.

Pages are made on the server (`templates/`, Jinja2) and kept alive by htmx; there is no build step. START HERE to read:
`app` puts it together, `guard` stands before every page, `request_input` is what a page is given, `render` writes it.

To add an area (say, domains):

1. `views/domains.py` has `routes(deps) -> list[Route]`, made of `shows(path, handler)` for GET and `does(path,
   handler)` for POST. A handler is `async def show(asked: Asked) -> Response`; it calls `asked.deps.services` with
   `asked.actor` and ends in `asked.page("domains/list.html", ...)`, `asked.part(...)` (a piece for htmx) or
   `asked.go("/domains", said="saved")` (303, with a line of `flash.py` shown once).
2. Add its `routes` to `AREAS` in `views/__init__.py`. The navigation has its entry already (`navigation.py`); it shows
   as soon as its path exists.
3. Its templates lie in `templates/domains/`, extend `page.html` and use the pieces of `ui.html`, which `page.html` has
   imported as `ui` (in a file of its own: `{% import "ui.html" as ui with context %}`): `ui.page_head`, `ui.card`,
   `ui.badge`, `ui.field`, `ui.area`, `ui.choice`, `ui.check`, `ui.copy`, `ui.copyable`, `ui.command`, `ui.empty`,
   `ui.notice`, `ui.confirm`, `ui.pager`, `ui.since`, `ui.figure`, `ui.csrf`, `ui.icon`. Forms say `ui.csrf()` inside;
   htmx sends the token by itself. Tables are `<div class="table-wrap"><table class="folds">` in a flush card, their
   cells have `data-name` for narrow screens; the link of a row is `a.row-link`. Classes are told in `static/app.css`.

What comes for nothing: who is not signed in never reaches a handler, neither does a POST from another origin or without
the CSRF token; `asked.form` has been read within limits; a `ManageError` that a handler lets through becomes a page.
Handlers for GET change nothing. Live pieces: `sse.stream(asked, topics, {"event": render})`, see `sse.py`.

Tests: `tests/support/dashboard.py` signs an httpx client or a Chromium page in.
"""
