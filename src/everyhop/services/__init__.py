"""What we do: one verb a file, the story from top to bottom.

A service asks the core for decisions and the ports for effects. It never imports a driver or a door.
"""
