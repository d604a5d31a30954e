"""A list of logs as browsers have it: every log of it, or a clear fault."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everyhop.core.endpoint.log_list import read_logs
from everyhop.errors import EveryhopError


def listed(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    spki = base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    log = {"description": "a log", "log_id": "unused", "key": spki, "url": "https://log.example/"}
    return json.dumps(
        {"version": "1", "operators": [{"name": "one", "logs": [log]}, {"name": "two", "tiled_logs": [log]}]}
    )


def test_every_log_of_every_operator_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    one, two = read_logs(listed(key), file="log_list.json")
    assert (one.name, one.log_id, two.log_id) == ("a log", one.log_id, one.log_id)
    assert one.key.public_numbers() == key.public_numbers()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"operators": 7}',
        '{"operators": []}',
        '{"operators": [7]}',
        '{"operators": [{"logs": [{"description": "x", "key": "!!"}]}]}',
        '{"operators": [{"logs": [{"description": "x"}]}]}',
        listed(ed25519.Ed25519PrivateKey.generate().public_key()),
    ],
)
def test_what_is_no_list_is_a_clear_fault(text: str) -> None:
    with pytest.raises(EveryhopError, match=r"in log_list\.json"):
        read_logs(text, file="log_list.json")
