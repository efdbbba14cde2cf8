"""The database. Start in base.py (the store's interface), then sql_store.py, store.py (SQLite)."""
