"""The relay's side of links: who may open one, and which names it may serve. Start reading at `accept`."""
