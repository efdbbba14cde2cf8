"""The agent's command line: commands, the live screen, log formats, exit codes. Start reading at `main`, then
`http`.
"""
