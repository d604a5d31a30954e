"""The names of TLS: versions, cipher suites, groups, signature schemes and alerts, as registered (IANA)."""
