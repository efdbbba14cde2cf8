"""The responses that the relay writes itself, as pages or JSON. Start reading at errors.py, the table of all errors."""
