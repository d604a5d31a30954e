"""A list of Certificate Transparency logs, in the JSON form that browsers' makers publish (log_list.json, version 3).

Rules: only names and keys are read. A log whose key cannot be read is a fault of the list, not a log less.
"""

from __future__ import annotations

import base64
import json
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from everyhop.core.endpoint.timestamps import Log
from everyhop.errors import EveryhopError

_HINT = 'expected {"operators": [{"logs": [{"description": ..., "key": ...}]}]}, as log_list.json has it'


def read_logs(text: str, *, file: str) -> tuple[Log, ...]:
    """The logs of a list; ``file`` is its name in messages. Raises ``usage-invalid`` if it is no such list."""
    try:
        operators = cast("list[dict[str, Any]]", json.loads(text)["operators"])
        logs = [one for operator in operators for one in (*operator.get("logs", ()), *operator.get("tiled_logs", ()))]
        found = tuple(_log(str(one["description"]), str(one["key"])) for one in logs)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"expected a list of logs in {file}, got {type(error).__name__}: {str(error)[:100]}"
        raise EveryhopError("usage-invalid", message, hint=_HINT) from error
    if not found:
        raise EveryhopError("usage-invalid", f"expected at least one log in {file}, got none", hint=_HINT)
    return found


def _log(name: str, key: str) -> Log:
    loaded = load_der_public_key(base64.b64decode(key, validate=True))
    if not isinstance(loaded, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError(f"the key of {name!r} is neither ECDSA nor RSA")  # a fault of the list
    return Log(name, loaded)
