"""The dashboard: the relay's web interface for administrators and members.

Pages are rendered on the server (`templates/`, Jinja2) and updated by htmx; there is no build step. Start reading at
`app`, which assembles the dashboard; then `guard` (access checks before every page), `request_input` (what a handler
gets) and `render` (templates).

To add an area (say, domains):

1. `views/domains.py` has `routes(deps) -> list[Route]`, which uses `page_route(path, handler)` for GET and
   `action_route(path, handler)` for POST. A handler is `async def show(request: UserRequest) -> Response`; it calls
   `request.deps.services` with `request.actor` and returns `request.page("domains/list.html", ...)`,
   `request.part(...)` (a piece for htmx) or `request.redirect("/domains", flash="saved")` (303, with a message of
   `flash.py` shown once).
2. Add the module's `routes` to `AREAS` in `views/__init__.py`, and an entry to the navigation (`navigation.py`), which
   shows it as soon as its path exists.
3. Its templates are in `templates/domains/`, extend `page.html` and use the pieces of `ui.html`, which `page.html` has
   imported as `ui` (in a file of its own: `{% import "ui.html" as ui with context %}`): `ui.page_head`, `ui.card`,
   `ui.badge`, `ui.field`, `ui.area`, `ui.choice`, `ui.check`, `ui.copy`, `ui.copyable`, `ui.command`, `ui.empty`,
   `ui.notice`, `ui.confirm`, `ui.pager`, `ui.since`, `ui.figure`, `ui.csrf`, `ui.icon`. Forms contain `ui.csrf()`;
   htmx sends the token by itself. Tables are `<div class="table-wrap"><table class="folds">` in a flush card, their
   cells have `data-name` for narrow screens; the link of a row is `a.row-link`. Classes are described in
   `static/app.css` and `tunnelctl/look/static/look.css`.

What handlers need not check: the user is signed in, and a POST came from our origin with the CSRF token (`guard`);
`request.form` was read within limits; a `ManageError` that a handler does not catch becomes an error page. Handlers
for GET change nothing. Live pieces: `sse.stream(request, topics, {"event": render})`, see `sse.py`.

Tests: `tests/support/dashboard.py` signs an httpx client or a Chromium page in.
"""
