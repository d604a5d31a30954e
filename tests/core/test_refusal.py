"""Refusals in words: the texts are what Envoy 1.40 logs."""

from __future__ import annotations

import pytest

from everyhop.core.refusal import REASONS, explain_failure, is_refusal
from everyhop.core.tally import result_of

CALLERS = ("spiffe://shop.internal/test/web",)
STRANGER = "spiffe://shop.internal/test/mallory"
LOGGED = {
    "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"
    "verify_SAN_match_failed:TLS_error_end": "wrong-identity",
    "TLS_error:|268435655:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end": (
        "no-certificate"
    ),
    "TLS_error:|268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end": "plaintext",
    "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end": "plaintext",
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"
    "verify cert failed: verification error: certificate has expired:TLS_error_end": "expired",
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"
    "verify cert failed: verification error: unable to get local issuer certificate:TLS_error_end": "foreign-authority",
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end": "foreign-authority",
    "TLS_error:|268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL:TLS_error_end": "old-protocol",
    "TLS_error:|268435646:SSL routines:OPENSSL_internal:NO_SHARED_GROUP:TLS_error_end": "no-common-group",
    "TLS_error:|268436501:SSL routines:OPENSSL_internal:SOMETHING_NEW:TLS_error_end": "other",
    "": "other",
}


def test_who_hangs_up_was_not_refused_but_who_was_refused_may_hang_up() -> None:
    reset = "|33554536:system_library:OPENSSL_internal:Connection_reset:TLS_error_end"
    assert not is_refusal(f"TLS_error:{reset}")
    old = f"TLS_error:|268435696:SSL_routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL{reset}"
    assert is_refusal(old)
    assert result_of(old, finished=False) == "refused_by_policy"
    assert result_of(f"TLS_error:{reset}", finished=False) == "abandoned"


@pytest.mark.parametrize(("failure", "code"), LOGGED.items(), ids=list(LOGGED.values()))
def test_what_envoy_logs_becomes_a_reason(failure: str, code: str) -> None:
    said = explain_failure(failure, STRANGER, CALLERS)
    assert said.code == code
    assert said.remedy
    assert "{" not in said.sentence


def test_the_words_name_who_came_and_who_may() -> None:
    wrong = explain_failure("verify SAN_match failed", STRANGER, CALLERS)
    assert wrong.sentence == f"it showed the identity {STRANGER}, and this port takes only {CALLERS[0]}"
    nobody = explain_failure("PEER_DID_NOT_RETURN_A_CERTIFICATE", "", ())
    assert nobody.sentence == "it showed no certificate, and this port takes only nobody"


def test_what_a_peer_sends_cannot_break_the_sentence() -> None:
    assert explain_failure("SAN_match", "{callers}{0}", ("{peer}",)).sentence.startswith(
        "it showed the identity {callers}{0}"
    )
    assert len(explain_failure("{peer}" * 500, "", ()).sentence) < 300


def test_a_reason_is_found_by_its_fragment_before_a_more_general_one() -> None:
    codes = [one.code for one in REASONS]
    assert codes.index("wrong-identity") < codes.index("foreign-authority")
    assert codes.index("expired") < codes.index("foreign-authority")
    assert all(explain_failure(one.fragment, "", ()).code == one.code for one in REASONS)


def test_a_peer_that_hangs_up_was_not_refused() -> None:
    """As Envoy 1.40 logs a reset after the handshake, and as it logs a verdict."""
    assert not is_refusal("TLS_error:|33554536:system_library:OPENSSL_internal:Connection_reset_by_peer:TLS_error_end")
    assert not is_refusal("")
    assert is_refusal("TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end")
