"""The operator's commands, `tunnelrelay …`: one module per group of commands. `main` has all flags; start there."""
