"""Whole journeys through real processes, as a user would see them. Start reading at `test_login`."""
