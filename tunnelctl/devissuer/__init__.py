"""A small OpenID provider for tests, on loopback only: `tunnel dev-issuer`. It signs people in without a password.

START HERE: `issuer`, which answers requests. `users` describes the users that can be chosen, `pages` makes the pages.
"""
