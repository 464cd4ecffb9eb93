"""A file that is read at random, a piece at a time.

Not mapped into memory: where a disk gives no answer, or the file has become shorter, reading a map
kills the process with a signal, while a call can be answered by an error.
"""

import errno
import os
from pathlib import Path

from tf_distilbert.errors import UserError


class ShardFile:
    """An open file; any number of threads may read it.

    Args:
        path: the file. If it cannot be opened, this is known by `error`, and by every `read`.

    Attributes:
        num_bytes: its size when it was opened, 0 if it could not be.
        error: why it could not be opened, else None.

    Raises:
        UserError: the process has too many files open, for which the file is not to blame.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self.num_bytes, self.error = 0, None
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            self.num_bytes = os.fstat(self._descriptor).st_size
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise UserError(
                    f"{path}: too many files are open; allow more with `ulimit -n`"
                ) from None
            self.error = error

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Read from `offset` on; less than `num_bytes` where the file ends before.

        Raises:
            OSError: it cannot be read.
        """
        if self.error is not None:
            raise self.error
        return os.pread(self._descriptor, num_bytes, offset)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
