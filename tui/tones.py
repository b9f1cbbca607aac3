"""How each tone looks in a theme.

A table of our own, not CSS: Textual matches its rules for every component of every widget anew
whenever a screen is shown, which took half of the time between a key and what it draws.
"""

from collections.abc import Mapping

from rich.style import Style
from textual.color import Color

from tui.paint import Tone

_COLOURS = {
    Tone.DIM: "text-dim",
    Tone.GOOD: "success",
    Tone.BUSY: "accent",
    Tone.WARN: "warning",
    Tone.BAD: "error",
    Tone.TITLE: "primary",
    Tone.KEY: "primary",
    Tone.BADGE: "warning",
    Tone.TAB: "primary",
    Tone.CURSOR: "cursor",
    Tone.CURVE: "curve",
    Tone.RIVAL: "rival",
}
"""The theme's variable that colours a tone; the others have the colour of all text."""
_BOLD = {Tone.STRONG, Tone.TITLE, Tone.KEY, Tone.BADGE, Tone.TAB}
_REVERSED = {Tone.BADGE, Tone.TAB, Tone.CURSOR}


def style_of(tone: Tone, variables: Mapping[str, str]) -> Style:
    """What a tone adds to the style of plain text.

    Args:
        tone: of a span.
        variables: those of the theme, without their dollar signs.
    """
    colour = _COLOURS.get(tone)
    return Style(
        color=Color.parse(variables[colour]).rich_color if colour else None,
        bold=True if tone in _BOLD else None,
        reverse=True if tone in _REVERSED else None,
    )
