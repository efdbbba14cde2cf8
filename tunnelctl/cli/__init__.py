"""What people type: commands, the live screen, log formats, exit codes. Start reading at `main`, then `http`."""
