"""The relay's own pages, behind the same ingress as everything else. Start with `app.py`."""
