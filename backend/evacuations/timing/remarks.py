"""What a plan's line says of its forecast: that a server goes alone, or what it waits for."""

import msgspec

from wire.evacuation import PlannedMove
from wire.forecast import Ease, Forecast


def remark(forecast: Forecast | None) -> str:
    """What should be known, in one clause; empty for one that is easy."""
    if forecast is None or forecast.ease is Ease.EASY:
        return ""
    if forecast.ease is Ease.STUCK:
        return forecast.lever or "it does not converge within its pause even alone"
    percent = forecast.throttle_percent
    slowed = f", and once QEMU slows it down by {percent} %" if percent else ""
    return f"it goes alone: it converges only on the whole link{slowed}"


def reforecast(plan: PlannedMove, forecast: Forecast | None) -> PlannedMove:
    """The same line with another forecast, and with what is to be said of that one."""
    known = plan.why.removesuffix(remark(plan.forecast)).removesuffix("; ")
    why = "; ".join(one for one in (known, remark(forecast)) if one)
    return msgspec.structs.replace(plan, forecast=forecast, why=why)
