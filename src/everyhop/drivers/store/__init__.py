"""Durable state: drivers for ``ports.Store``.

``sqlite`` is the store of one machine; ``statements`` says what a write does, ``rows`` how facts become columns,
``group_commit`` makes many waiting writes one durable commit, ``migrate`` applies the numbered SQL in ``migrations/``.
"""
