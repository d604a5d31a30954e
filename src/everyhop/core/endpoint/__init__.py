"""Endpoints seen from outside: what to look at, what a look brought home, and what rules make of it.

``target`` says where; ``facts`` is what probes report, without any judgement; ``rules`` (one file per concern) and
``judge`` turn facts and a guideline into findings.
"""
