"""Rules about TLS itself: versions, suites, groups and what a guideline asks of them.

Rules: what the guideline does not permit must be refused, and the refusal is the evidence of a pass. An endpoint that
accepted nothing at all has refused nothing either: everything is unknown then. Where no TLS is spoken the rules about
plaintext speak, and these do not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everyhop.core.endpoint.accepted import (
    REFUSALS,
    Choice,
    Proof,
    answers,
    groups,
    speaks_tls,
    suites,
    versions,
)
from everyhop.core.endpoint.facts import Answer, Reply, TlsFacts
from everyhop.core.endpoint.rules.base import Case, Outcome, Rule, failed, not_applicable, passed, unknown
from everyhop.core.finding import Severity
from everyhop.core.tls.groups import group, group_name
from everyhop.core.tls.suites import Weakness, suite, suite_name
from everyhop.core.tls.versions import TLS12, TLS13, version_name, version_names, version_slug

_SHOWN = 6
"""Names shown of a longer list."""
_READABLE = frozenset((Weakness.NULL, Weakness.ANONYMOUS, Weakness.EXPORT))
_BREAKABLE = frozenset((Weakness.RC4, Weakness.DES, Weakness.TRIPLE_DES, Weakness.GOST))

Check = Callable[[Case, TlsFacts], Outcome]


def _where_tls_is(check: Check) -> Callable[[Case], Outcome | None]:
    """Ask only where TLS was looked for and found."""

    def asked(case: Case) -> Outcome | None:
        tls = case.facts.tls
        if tls is None:
            return None
        speaks = speaks_tls(tls)
        if speaks is None:
            why = tls.fault or next((one.answer.evidence for one in tls.asked if one.answer.evidence), "no answer")
            return unknown("expected the endpoint to accept something, it accepted nothing", why)
        return check(case, tls) if speaks else not_applicable("no TLS is spoken here", tls.fault)

    return asked


def _verdict(proof: Proof, bad: Sequence[Choice], what: str, names: Sequence[str], severity: Severity) -> Outcome:
    """Fail for what was accepted, pass for what was refused, unknown for the rest."""
    if bad:
        evidence = next((choice.evidence for choice in bad if choice.evidence), "")
        statement = f"expected {what} that the guideline does not permit to be refused, got {_some(names)} accepted"
        return failed(statement, evidence, severity)
    if proof.untold:
        return unknown(f"expected every other {_one(what)} to be refused, could not tell", _some(proof.untold))
    if proof.refused:
        return passed(f"{what} that the guideline does not permit are refused", _some(proof.refused))
    return not_applicable(f"the guideline permits all {what}, or none was asked for")


# --- versions -------------------------------------------------------------------------------------------------------


def _versions(case: Case, tls: TlsFacts) -> Outcome:
    permitted = case.guideline.versions
    proof = versions(tls, permitted)
    bad = [choice for choice in proof.choices if choice.version not in permitted]
    names = [version_name(code) for code in dict.fromkeys(choice.version for choice in bad)]
    old = any(choice.version < TLS12 for choice in bad)
    severity = Severity.HIGH if old else Severity.MEDIUM
    if any(_READABLE & set(suite(choice.suite).weaknesses) for choice in bad if choice.suite is not None):
        severity = Severity.CRITICAL
    return _verdict(proof, bad, "versions", names, severity)


def _required(case: Case, tls: TlsFacts) -> Outcome:
    required = case.guideline.required_versions
    if not required:
        return not_applicable("the guideline requires no version")
    accepted = {one.version for one in tls.versions}
    accepted |= {one.answer.version for one in tls.asked if one.answer.reply is Reply.ACCEPTED and one.answer.version}
    missing = {version: _told(tls, version) for version in required if version not in accepted}
    if not missing:
        told = f"accepts {version_names(sorted(accepted, reverse=True))}"
        return passed(f"{version_names(required)} is accepted", told)
    untold = [version for version, answer in missing.items() if answer is None or answer.reply not in REFUSALS]
    if untold:
        return unknown(f"expected {version_names(untold)} to be accepted, could not tell")
    evidence = "; ".join(answer.evidence for answer in missing.values() if answer)
    return failed(f"expected {version_names(missing)} to be accepted, it is not", evidence)


def _told(tls: TlsFacts, version: int) -> Answer | None:
    """What came back when this version was asked for; None: it was not."""
    questions = (f"permitted-{version_slug(version)}", f"required-{version_slug(version)}")
    found = [answer for question in questions for answer in answers(tls, question)]
    return dict(tls.refused_versions).get(version) or next(iter(found), None)


# --- suites ---------------------------------------------------------------------------------------------------------


def _suites(case: Case, tls: TlsFacts) -> Outcome:
    guideline = case.guideline
    permitted = {*guideline.suites_tls13, *guideline.suites_tls12}
    proof = suites(tls, guideline.versions)
    bad = [choice for choice in proof.choices if choice.suite not in permitted]
    codes = list(dict.fromkeys(choice.suite for choice in bad if choice.suite is not None))
    codes.sort(key=_danger)
    return _verdict(proof, bad, "suites", [suite_name(code) for code in codes], _suite_severity(codes))


def _danger(code: int) -> int:
    """Lower is worse."""
    order = list(Weakness)
    return min((order.index(weakness) for weakness in suite(code).weaknesses), default=len(order))


def _suite_severity(codes: Sequence[int]) -> Severity:
    found = {weakness for code in codes for weakness in suite(code).weaknesses}
    if found & _READABLE:
        return Severity.CRITICAL
    return Severity.HIGH if found & _BREAKABLE else Severity.MEDIUM


def _order(case: Case, tls: TlsFacts) -> Outcome:
    wanted = case.guideline.server_order
    if wanted is None:
        return not_applicable("the guideline leaves the order of suites open")
    seen = {one.version: one.server_order for one in tls.versions if one.version in case.guideline.versions}
    whose = {True: "the server's", False: "the client's"}
    wrong = [version for version, order in seen.items() if order is (not wanted)]
    if wrong:
        got = f"got {whose[not wanted]} in {version_names(wrong)}"
        return failed(f"expected {whose[wanted]} order of suites to decide, {got}")
    if any(order is wanted for order in seen.values()):
        return passed(f"{whose[wanted]} order of suites decides")
    return not_applicable("too few suites are accepted for an order, or it was not asked for")


# --- key exchange ---------------------------------------------------------------------------------------------------


def _groups(case: Case, tls: TlsFacts) -> Outcome:
    proof = groups(tls, case.guideline.versions)
    bad = [choice for choice in proof.choices if choice.group is not None and choice.group not in case.guideline.groups]
    codes = list(dict.fromkeys(choice.group for choice in bad if choice.group is not None))
    weak = any(0 < group(code).bits < 112 for code in codes)
    names = [group_name(code) for code in codes]
    return _verdict(proof, bad, "groups", names, Severity.HIGH if weak else Severity.MEDIUM)


def _post_quantum(case: Case, tls: TlsFacts) -> Outcome:
    preferred = case.guideline.preferred_groups
    if not preferred:
        return not_applicable("the guideline prefers no group")
    accepted = {code for one in tls.versions for code in one.groups}
    accepted |= {one.answer.group for one in tls.asked if one.answer.reply is Reply.ACCEPTED and one.answer.group}
    found = [code for code in preferred if code in accepted]
    if found:
        return passed("recordings made today stay closed to a quantum computer", f"chose {group_name(found[0])}")
    wanted = _some([group_name(code) for code in preferred])
    if tls.mode == "verify":
        asked = [*answers(tls, "preferred-groups"), *answers(tls, f"permitted-{version_slug(TLS13)}")]
        refusal = next((answer for answer in asked if answer.reply in REFUSALS), None)
        if refusal is None:
            return unknown(f"expected {wanted} to be accepted, could not tell")
        return failed(f"expected {wanted} to be accepted, it is refused", refusal.evidence)
    if any(one.unsure_groups and one.version == TLS13 for one in tls.versions):
        return unknown(f"expected {wanted} to be accepted, could not tell")
    names = _some([group_name(code) for code in sorted(accepted)]) or "no group"
    return failed(f"expected {wanted} to be accepted, got {names}")


def _field_size(case: Case, tls: TlsFacts) -> Outcome:
    least = case.guideline.dh_bits_min
    sizes = [(one.answer.key_bits, one.answer.evidence) for one in tls.asked if one.answer.key_bits]
    if not sizes:
        return not_applicable("no finite-field key exchange with a prime of the server's own was seen")
    smallest, evidence = min(sizes)
    if smallest < least:
        severity = Severity.HIGH if smallest <= 1024 else Severity.MEDIUM
        return failed(f"expected Diffie-Hellman primes of at least {least} bits, got {smallest}", evidence, severity)
    return passed(f"Diffie-Hellman primes have {smallest} bits, at least {least} are asked for", evidence)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _one(what: str) -> str:
    return what.removesuffix("s")


RULES = (
    Rule(
        "tls-version-old",
        Severity.HIGH,
        "RFC 8996, 2; RFC 9325, 3.1.1",
        "a version that is accepted can be forced upon both ends, with all that is broken in it",
        _where_tls_is(_versions),
    ),
    Rule(
        "tls-version-missing",
        Severity.MEDIUM,
        "RFC 9325, 3.1.1; RFC 8446",
        "without the current version nobody gets its protection, whoever asks",
        _where_tls_is(_required),
    ),
    Rule(
        "tls-suite-forbidden",
        Severity.MEDIUM,
        "RFC 9325, 4.1 and 4.2",
        "a weak suite that is accepted is what an attacker, or an old client, will choose",
        _where_tls_is(_suites),
    ),
    Rule(
        "tls-group-forbidden",
        Severity.MEDIUM,
        "RFC 9325, 4.1; RFC 8422, 5.1.1",
        "the key exchange is as strong as the weakest group that is accepted",
        _where_tls_is(_groups),
    ),
    Rule(
        "tls-dh-small",
        Severity.MEDIUM,
        "RFC 9325, 4.1; CVE-2015-4000 (Logjam)",
        "a small prime can be broken once for all connections that use it",
        _where_tls_is(_field_size),
    ),
    Rule(
        "tls-group-post-quantum",
        Severity.LOW,
        "draft-ietf-tls-ecdhe-mlkem; NIST IR 8547",
        "what is recorded today with a classical exchange alone can be read once there is a quantum computer",
        _where_tls_is(_post_quantum),
    ),
    Rule(
        "tls-server-order",
        Severity.LOW,
        "RFC 9325, 4.2.1",
        "whoever knows the better suite should choose: the server where suites differ in strength, else the client",
        _where_tls_is(_order),
    ),
)
