"""What operators type: a module for each group of commands, the flags of all in `main`. Start reading there."""
