"""The command `fcnxs`: a module for each sub-command, which parses its arguments and prints."""
