"""Strings from outside, made safe to draw: names, reasons and error texts of guests and hosts."""

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control, format (bidi, zero width), unassigned, private, surrogate, line and paragraph ends."""


def escape_text(text: str) -> str:
    r"""Show what a terminal would obey, and what would hide or reorder letters, as ``\x1b``.

    The result has no line break, no control or bidi character, and can always be encoded.
    Markup of rich or Textual is left as it is: draw the result as plain text.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) for character in text)


def escape_lines(text: str) -> list[str]:
    """Split a text of several lines, such as libvirt's, and escape each line."""
    return [escape_text(line.expandtabs()) for line in text.splitlines()]


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
