"""The relay's side of agents' links: authenticates agents, and binds the names that they serve. Start at `accept`."""
