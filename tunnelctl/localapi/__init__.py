"""The agent's local API, as ngrok's: programs on this machine list, add and remove tunnels. START HERE: `api`."""
