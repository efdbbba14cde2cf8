"""The operator's commands: a module for each group, and all their flags in `main`. Start reading there."""
