"""Keys and signatures on the path: too weak for anybody, or not what the guideline permits.

Rules: the signature of a self-signed certificate protects nothing and is not judged; its key is. The floor holds under
every guideline: RSA of 2048 bits, curves of 256, SHA-2. A weak key is one finding, not two: the guideline's rule is
silent about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed
from everyhop.core.endpoint.served import Certificate, PublicKey
from everyhop.core.finding import Severity

RSA_BITS = 2048
CURVE_BITS = 256

_WEAK_DIGESTS = frozenset(("md5", "sha1"))
_MD2_AND_MD4 = frozenset(("1.2.840.113549.1.1.2", "1.2.840.113549.1.1.3"))


def weak_keys(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Those whose key nobody should rely on."""
    return [each for each in certificates if _weak(each.key)]


def weak_signatures(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Those whose issuer's signature could be forged; self-signed ones are left out."""
    weak = _WEAK_DIGESTS | _MD2_AND_MD4
    return [each for each in certificates if each.signature in weak and not each.self_issued]


def _weak(key: PublicKey) -> bool:
    if key.kind == "rsa":
        return key.bits < RSA_BITS
    return key.kind == "dsa" or (key.kind == "ecdsa" and key.bits < CURVE_BITS)


def _judged(case: Case) -> tuple[Certificate, ...]:
    """The path and the further leaves of the port."""
    if case.path is None or case.served is None:
        return ()
    return (*case.path.links, *case.served.more_leaves)


def _keys(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    weak = weak_keys(_judged(case))
    if weak:
        return failed(
            f"expected RSA of {RSA_BITS} bits or more or a curve of {CURVE_BITS}, got {weak[0].key.name}", _list(weak)
        )
    return passed("no key on the path is weak", _list(_judged(case)))


def _signatures(case: Case) -> Outcome | None:
    if case.path is None:
        return None
    weak = weak_signatures(_judged(case))
    if weak:
        evidence = ", ".join(f"{each.title}: {each.signature}" for each in weak)
        return failed(f"expected signatures with SHA-256 or better, got {weak[0].signature}", evidence)
    return passed("no signature on the path is weak")


def _permitted(case: Case) -> Outcome | None:
    if case.served is None or case.served.leaf is None:
        return None
    permitted = case.guideline.certificate_keys
    if not permitted:
        return not_applicable(f"{case.guideline} permits every key that is not weak")
    leaves = (case.served.leaf, *case.served.more_leaves)
    if weak_keys(leaves):
        return not_applicable("the key is weak under every guideline")
    other = [leaf for leaf in leaves if not permits(permitted, leaf.key)]
    if other:
        return failed(f"expected a key of {', '.join(permitted)}, got {other[0].key.name}", _list(other))
    return passed(f"{case.guideline} permits its key", _list(leaves))


def permits(permitted: Sequence[str], key: PublicKey) -> bool:
    """True if a guideline's list covers a key; an RSA entry names the least size."""
    if key.kind != "rsa":
        return key.name in permitted
    sizes = [int(name.removeprefix("rsa-")) for name in permitted if name.startswith("rsa-")]
    return any(key.bits >= size for size in sizes)


def _list(certificates: Iterable[Certificate]) -> str:
    return ", ".join(f"{each.title}: {each.key.name}" for each in certificates)


RULES = (
    Rule(
        "certificate-key-weak",
        Severity.HIGH,
        "NIST SP 800-131A; CA/B BR, 6.1.5",
        "a key that can be computed from its certificate protects nothing",
        _keys,
    ),
    Rule(
        "certificate-signature-weak",
        Severity.HIGH,
        "CA/B BR, 7.1.3.2; RFC 9155",
        "whoever finds a collision forges the certificate",
        _signatures,
    ),
    Rule(
        "certificate-key-not-permitted",
        Severity.LOW,
        "the guideline's certificate keys",
        "the guideline asks for certain kinds of keys",
        _permitted,
    ),
)
