"""Envoy's door: the neutral plan becomes xDS resources, served by delta ADS with SDS on one Unix socket.

No generated code: the messages come from a descriptor set that is shipped with the package (docs/decisions/0004).
"""
