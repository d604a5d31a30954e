"""What we call: the outside world behind the ports, kind first, then product.

A driver implements one protocol of ``everyhop.ports`` and passes its contract suite. Drivers of one kind do not know
those of another, and none knows the services.
"""
