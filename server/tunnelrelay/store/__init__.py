"""The database of the relay. Start in base.py (the store's interface), then sql_store.py and store.py (SQLite)."""
