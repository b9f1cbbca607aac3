"""``godwit-fence``: the process that kills a host's guests, or lets its watchdog card fire.

The modules here import the standard library alone: the process must be back within tens of
milliseconds when it is started again under an armed card.
"""
