"""Logs, metrics, audit events and traffic figures. Start with access.py (one line per exchange), then metrics.py."""
