"""What people and programs change while the relay runs: edges, domains, credentials, providers, users, sign-ins.

The one service layer behind the API and the dashboard: whoever acts is an `actor.Actor`, whatever is wrong a
`problems.ManageError`, and every change is authorized, checked, written, audited and applied to the running relay here.
Not here: how it is asked for (`api`, `dashboard`) and how visitors are served (`ingress`). Start reading at `actor`.
"""
