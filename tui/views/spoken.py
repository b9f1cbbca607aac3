"""The backend's advice in the console's words: a key stands for a command of the shell."""

import re

_KEYS = (
    (re.compile(r"\bgodwit host-declare-off \S+"), "F"),
    (re.compile(r"\bgodwit host-exit-maintenance \S+"), "M in Hosts"),
    (re.compile(r"\bgodwit host-evacuate \S+"), "E in Hosts"),
    (re.compile(r"\bgodwit host-return \S+"), "B in Hosts"),
    (re.compile(r"\bgodwit evacuation-change --move \S+ \S+"), "E on it"),
    (re.compile(r"\bgodwit evacuation-cancel \S+"), "C in its evacuation"),
)


def in_keys(sentence: str) -> str:
    """``say so with godwit host-declare-off kvm-04`` → ``say so with F``."""
    for command, key in _KEYS:
        sentence = command.sub(key, sentence)
    return sentence
