"""The login of visitors at an OpenID provider. Start with `login/login.py`, then `tokens/id_token.py`.

The folders, lowest first: `tokens` (checks of signed tokens and claims), `providers` (calls to providers), `sessions`
(who is signed in), `login` (how a visitor signs in), `logout` (how a visitor signs out).
"""
