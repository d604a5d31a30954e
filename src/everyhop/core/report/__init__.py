"""Reports of scans: what was found out about endpoints, rendered for programs.

Each renderer is pure: reports in, text or plain data out. ``document`` is the published JSON, ``sarif`` and ``junit``
are what other tools read, ``difference`` compares with an earlier document.
"""
