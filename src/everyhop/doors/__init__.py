"""Who calls us.

Each door parses its wire format, calls a service and renders the answer. Doors do not know each other.
"""
