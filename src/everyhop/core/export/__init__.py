"""Exports: what other tools need to watch the same things, generated from the same objects."""
