"""`make bench`: our tunnel beside nginx, ssh and others, in one run; start reading in scenarios.py."""
