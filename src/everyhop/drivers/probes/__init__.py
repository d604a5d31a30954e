"""Probes: what endpoints do, seen from outside, and what really goes over the wire.

Rules: a probe reports facts and never judges; it is bounded in time and memory whatever the other side does, and
takes at most one connection for one question. Time comes from a clock that is given.
"""
