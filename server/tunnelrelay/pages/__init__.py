"""The relay's own responses to visitors, as HTML pages or JSON. Start reading at errors.py, the table of all errors."""
