"""What goes wrong in the lab, as one sentence for the person who asked."""


class LabError(Exception):
    """The lab cannot do what was asked; the message is one clear sentence."""
