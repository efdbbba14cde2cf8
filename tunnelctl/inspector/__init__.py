"""The inspector: what visitors' requests and their responses held, kept in memory for a while. START HERE: `store`."""
