"""The error for input that the user has to correct."""


class InputError(ValueError):
    """A file, folder, key or value from the user that cannot be used.

    The message is one sentence: what is wrong, where, and what to do. The entry points print it
    without a traceback and exit with status 2. A programmer's mistake is an `assert` or an ordinary
    exception, never this.

    Args:
        in_one_process: the other processes of the run may not have the error, so this one must
            print it.
    """

    def __init__(self, message: str, in_one_process: bool = False) -> None:
        super().__init__(message)
        self.in_one_process = in_one_process
