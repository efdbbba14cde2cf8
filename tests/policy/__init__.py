"""Tests of the policy package; `making` builds heads and policies for them."""
