"""The catalogue of what both programs say when something cannot be done."""
