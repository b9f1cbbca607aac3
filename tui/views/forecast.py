"""What a move is expected to take, and what that rests on."""

from tui.formats.finishing import seconds_text
from tui.formats.units import bytes_text, duration_text, rate_text
from tui.paint import Span, Tone
from tui.views.glyphs import Glyphs, ease_span
from wire.forecast import Basis, Ease, Forecast

_BASES = {
    Basis.MEASURED: "dirty rates that its host measured",
    Basis.PAST_MOVE: "the passes of its last move",
    Basis.GUESSED: "a guess: nothing is known of its memory, which is taken as idle",
}


def forecast_fields(forecast: Forecast | None, glyphs: Glyphs) -> list[tuple[str, Span]]:
    """What a move is expected to take, and what that rests on."""
    if forecast is None:
        return []
    took, low, high = (
        seconds_text(round(each / 1000))
        for each in (forecast.total_ms, forecast.low_ms, forecast.high_ms)
    )
    passes = f" in {forecast.pass_count} passes" if forecast.pass_count else ""
    rate = forecast.bandwidth_bytes_per_s
    over = f" at {rate_text(rate)}" if rate else ""
    found = [
        (
            "forecast",
            Span(f"{took} ({low} to {high}), {bytes_text(forecast.sent_bytes)}{passes}{over}"),
        ),
        ("pause", Span(f"{duration_text(forecast.downtime_ms)} at its end{_floor(forecast)}")),
        ("ease", ease_span(forecast, glyphs)),
        (
            "rests on",
            Span(
                _BASES[forecast.basis],
                Tone.WARN if forecast.basis is Basis.GUESSED else Tone.PLAIN,
            ),
        ),
    ]
    if _is_slowed(forecast):
        slowed = f"QEMU slows it down by up to {forecast.throttle_percent} % until it converges"
        found.append(("slowed", Span(slowed, Tone.WARN)))
    if forecast.lever:
        found.append(("lever", Span(forecast.lever, Tone.STRONG)))
    return found


def _floor(forecast: Forecast) -> str:
    floor = 0 if _is_slowed(forecast) else forecast.floor_ms
    return f"; no shorter than {duration_text(floor)} on this link" if floor else ""


def _is_slowed(forecast: Forecast) -> bool:
    """Whether it comes over because its guest is slowed down: one that is stuck does not begin."""
    return bool(forecast.throttle_percent) and forecast.ease is not Ease.STUCK
