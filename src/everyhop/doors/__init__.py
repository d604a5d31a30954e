"""Who calls us. Each door parses its wire format, calls a service and renders the answer; doors do not know each other."""
