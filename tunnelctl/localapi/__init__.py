"""The agent's local HTTP API, compatible with ngrok's: programs on this machine list, add and remove tunnels. START
HERE: `api`.
"""
