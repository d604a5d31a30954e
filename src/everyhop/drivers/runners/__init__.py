"""Runners: how services and proxies become processes on this machine.

Rules: a runner implements ``ports.Runner``, starts only what it is told to and ends only what it started, also what
an earlier life of everyhop started; nothing of everyhop's own secrets reaches a process.
"""
