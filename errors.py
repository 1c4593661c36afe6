"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Something the user gave cannot be used: a file, a folder, a key, a value.

    The message is the whole story in one sentence: what is wrong, where, and what to do. The entry
    points print it without a traceback and exit with status 2. A programmer's mistake is an
    `assert` or an ordinary exception, never this.

    Args:
        in_one_process: whether the other processes of the run may not have met it, so that this one
            must say it.
    """

    def __init__(self, message: str, in_one_process: bool = False) -> None:
        super().__init__(message)
        self.in_one_process = in_one_process
