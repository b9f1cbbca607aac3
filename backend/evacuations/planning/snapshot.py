"""Copies of what the backend knows, for threads: the event loop changes the original meanwhile.

Records of the wire are frozen and shared; only what holds them is copied, which takes about
15 ms of the loop for 20,000 servers.
"""

from collections import deque
from enum import Enum
from typing import Any, TypeVar

_Known = TypeVar("_Known")
_OURS = "backend."
_CHANGING: dict[type[Any], bool] = {}
"""Answers of :func:`_changes`, which is asked of each object."""
_UNREAD = {"transitions", "changes"}
"""Of a fleet: what no plan looks at."""


def snapshot_of(known: _Known) -> _Known:
    """Copy what is changed in place, as deep as that goes; all else is the same object.

    Args:
        known: a fleet, or jobs. All members of one container are of one kind.
    """
    copied: _Known = _copied(known)
    return copied


def _copied(held: Any) -> Any:
    kind = type(held)
    if not _changes(kind):
        return held
    if issubclass(kind, dict):
        same = held.copy()
        if same and _changes(type(next(iter(same.values())))):
            for key, one in held.items():
                same[key] = _copied(one)
    elif issubclass(kind, list | deque):
        same = held.copy()
        if same and _changes(type(same[0])):
            for number, one in enumerate(held):
                same[number] = _copied(one)
    elif issubclass(kind, set):
        same = held.copy()
    else:
        same = _copied_object(held)
    return same


def _copied_object(held: Any) -> Any:
    same = object.__new__(type(held))
    fields = vars(same)
    fields.update(vars(held))
    for name, one in vars(held).items():
        if _changes(type(one)) and name not in _UNREAD:
            fields[name] = _copied(one)
    return same


def _changes(kind: type[Any]) -> bool:
    """Whether such an object is changed in place: containers, and objects of the backend's own."""
    known = _CHANGING.get(kind)
    if known is None:
        ours = kind.__module__.startswith(_OURS) and not issubclass(kind, Enum)
        holds = issubclass(kind, dict | list | set | deque)
        known = _CHANGING[kind] = holds or (ours and kind.__dictoffset__ != 0)
    return known
