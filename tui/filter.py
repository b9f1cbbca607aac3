"""What ``/`` understands: plain text or a regular expression, ``!`` before it for the inverse."""

import re

import msgspec


class Filter(msgspec.Struct, frozen=True):
    """A filter as it was typed; an empty one lets everything through."""

    text: str = ""

    def matches(self, row: str) -> bool:
        """Whether a row's text passes; upper and lower case are equal."""
        wanted = self.text.removeprefix("!")
        if not wanted:
            return True
        found = _pattern(wanted).search(row) is not None
        return found != self.text.startswith("!")


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a regular expression; what is none is searched as it stands.

    ``re`` keeps the last 512 compiled patterns, so that this costs nothing for each row.
    """
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError):
        # OverflowError: a repetition such as a{99999999999}
        return re.compile(re.escape(text), re.IGNORECASE)
