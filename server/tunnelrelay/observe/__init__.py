"""What the relay tells its operator: start in access.py (one line per exchange), then metrics.py and admin.py."""
