"""How many plans may be asked for at one moment: they are reckoned one at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from wire.errors import ErrorCode, GodwitError

OF_ONE = 4
"""Plans of one caller: more than a person edits while the first of them is made."""


class PlanQueue:
    """Whoever asks in a loop waits for their own plans; those of others come in between."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    @contextmanager
    def place(self, asked_by: str) -> Iterator[None]:
        """Hold a place while a plan is made.

        Raises:
            GodwitError: CONFLICT for one who holds :data:`OF_ONE` already.
        """
        if self._asked[asked_by] >= OF_ONE:
            raise GodwitError(
                ErrorCode.CONFLICT,
                f"{self._asked[asked_by]} plans that {asked_by} asked for are being made already, "
                "which is the most at once; ask again when one of them has come",
            )
        self._asked[asked_by] += 1
        try:
            yield
        finally:
            self._asked[asked_by] -= 1
            if not self._asked[asked_by]:
                del self._asked[asked_by]
