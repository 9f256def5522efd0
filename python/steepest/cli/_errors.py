"""The error that ends a command with one line."""


class CommandError(Exception):
    """What the user asked for cannot be done; the message is the one line that says why."""
