"""A small OpenID provider for tests, on loopback only: `tunnel dev-issuer`. It signs people in without a password.

START HERE: `issuer`, which answers requests. Who can be chosen is in `users`, the pages in `pages`.
"""
