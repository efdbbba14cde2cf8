"""What survives a restart: start in base.py (what a store offers), then sql_store.py, store.py (SQLite)."""
