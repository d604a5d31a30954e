"""Data planes: how to run what carries the traffic, and how to hear what it saw."""
