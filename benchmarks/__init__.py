"""Measurements: each compares everyhop with a peer or a limit, side by side in one run, as ratios.

Rules: `python3 run.py bench NAME [--json FILE]` runs one. What is compared is interleaved in rounds and the median
counts, since other work on the machine disturbs both sides alike. A figure that was not measured is not printed.
Everything stays on loopback, ends in minutes and leaves no process behind.
"""
