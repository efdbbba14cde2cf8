"""The inspector: keeps the contents of visitors' requests and responses in memory for a while. START HERE: `store`."""
