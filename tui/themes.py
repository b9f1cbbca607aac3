"""The console's themes; none of Textual's ansi kind, which NO_COLOR turns black on black."""

from textual.theme import Theme


def _theme(
    name: str,
    *,
    background: str,
    foreground: str,
    primary: str,
    success: str,
    warning: str,
    error: str,
    accent: str,
    dim: str,
    rule: str,
    rival: str,
    dark: bool = True,
) -> Theme:
    return Theme(
        name=name,
        primary=primary,
        secondary=primary,
        success=success,
        warning=warning,
        error=error,
        accent=accent,
        foreground=foreground,
        background=background,
        surface=background,
        panel=background,
        dark=dark,
        variables={
            "text-dim": dim,
            "cursor": primary,
            "curve": accent,
            "rival": rival,
            "rule": rule,
        },
    )


THEMES: tuple[Theme, ...] = (
    _theme(
        "godwit-dark",
        background="#14181f",
        foreground="#d6dbe3",
        primary="#8ab4f8",
        success="#7fc98b",
        warning="#e6b455",
        error="#f07a78",
        accent="#5fc3d6",
        dim="#8a94a3",
        rule="#39424f",
        rival="#c79bf2",
    ),
    _theme(
        "godwit-light",
        background="#f7f7f4",
        foreground="#22262c",
        primary="#0b57a4",
        success="#1d6f36",
        warning="#8a5300",
        error="#b3261e",
        accent="#00697d",
        dim="#5d6570",
        rule="#b9bec6",
        rival="#7b2fb5",
        dark=False,
    ),
    _theme(
        "godwit-contrast",
        background="#000000",
        foreground="#ffffff",
        primary="#7fd4ff",
        success="#5dff7a",
        warning="#ffd800",
        error="#ff7b72",
        accent="#00f0ff",
        dim="#d0d0d0",
        rule="#ffffff",
        rival="#ff9dff",
    ),
    # Okabe and Ito's palette, which keeps apart under every kind of colour blindness.
    _theme(
        "godwit-cvd",
        background="#101418",
        foreground="#e4e4e4",
        primary="#56b4e9",
        success="#009e73",
        warning="#e69f00",
        error="#d55e00",
        accent="#56b4e9",
        dim="#9aa0a6",
        rule="#3a4048",
        rival="#f0e442",
    ),
)


def next_theme(name: str) -> str:
    """Name the theme after this one."""
    names = [theme.name for theme in THEMES]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]
