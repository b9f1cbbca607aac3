"""The host agent: one KVM host's facts, servers and migrations, spoken through libvirt."""
