"""Every answer the relay writes itself, as a page or as JSON. Start reading at errors.py, the table of all errors."""
