"""Encrypt every hop between your services, and prove it.

The public names are those below; the rest of the package may change between minor versions. The command line
(``everyhop --help``) and the topology file are public, too, and so are error codes and exit statuses.
"""

from everyhop.errors import CODES, ErrorCode, EveryhopError, ExitStatus
from everyhop.settings import Settings

__version__ = "0.1.0"
__all__ = ["CODES", "ErrorCode", "EveryhopError", "ExitStatus", "Settings", "__version__"]
