"""The relay's own web pages, served behind the same ingress as tunnels. Start with `app.py`."""
