"""The relay's own responses, as pages or JSON. Start reading at errors.py, the table of all errors."""
