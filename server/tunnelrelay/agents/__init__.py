"""The relay's side of links: who may open one, and which names an agent may serve. Start reading at `accept`."""
