"""Faults tried on a lab, and whether what is told of it afterwards is true."""
