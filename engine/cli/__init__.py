"""The command line's parts: arguments, output, and one module for each group of commands."""
