"""Tests, bottom to top: bytes, sessions, whole worlds in one process (support.world), real processes (journeys)."""
