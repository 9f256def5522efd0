"""The exception for user errors on the command line."""


class CommandError(Exception):
    """The command cannot run as requested; the message, one line, says why."""
