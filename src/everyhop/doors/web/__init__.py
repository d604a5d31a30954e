"""The web door: a dashboard that shows what is encrypted, what is not and what is unknown, and who says so.

Read-only throughout. Pages are made on this side, with the map and the charts as SVG; a script of a few lines keeps
them fresh, and without it they are all there (docs/decisions/0012).
"""
