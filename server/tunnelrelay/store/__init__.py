"""What survives a restart: start in base.py (what a store offers), then store.py (SQLite)."""
