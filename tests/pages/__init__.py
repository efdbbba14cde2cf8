"""Tests of the relay's own answers."""
