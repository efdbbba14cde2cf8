"""`make demo`: an app, a relay, a provider and a tunnel on one machine. Start reading at `__main__`."""
