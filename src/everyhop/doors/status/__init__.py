"""The status door: ``/metrics``, ``/healthz`` and ``/readyz``, for machines that watch us.

Rules: read-only and without secrets; what is shown was computed before, so that a scrape costs nothing and cannot hurt.
"""
