"""The one exception that is meant for the user's eyes."""


class UserError(ValueError):
    """A mistake that the user can mend: a bad path, key, value or file.

    The message is one line. It names the thing, says what is wrong with it and how to mend it.
    The command line prints it without a traceback and exits with code 2; in a Python program it
    is an ordinary ``ValueError``.
    """
