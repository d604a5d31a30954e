"""Where doors meet drivers: the only place that knows both.

Rules: explicit tables from name to factory; nothing is decided here. One module for each thing that is put together, so
that a command loads no more than it needs; what all of them need is in ``workspace``.
"""

from everyhop.app.workspace import Workspace, instance_of, now

__all__ = ["Workspace", "instance_of", "now"]
