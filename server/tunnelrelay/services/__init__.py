"""The service layer behind API and dashboard: edges, domains, credentials, providers, users and sign-ins.

Every change is authorized, checked, stored, audited and applied to the running relay here. Callers pass an
`actor.Actor` and get a `problems.ManageError` when a request is refused. `api` and `dashboard` translate requests;
`ingress` serves visitors. Start reading at `actor`.
"""
