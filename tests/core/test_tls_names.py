"""The names of TLS: complete, consistent with one another, and with the OpenSSL that is at hand."""

from __future__ import annotations

import re
import ssl

import pytest

from everyhop.core.tls import alerts, groups, signatures, versions
from everyhop.core.tls.groups import GROUPS, TLS12_GROUPS, TLS13_GROUPS, Kind, group, group_code
from everyhop.core.tls.suite_names import NAMES
from everyhop.core.tls.suites import TLS12_SUITES, TLS13_SUITES, Weakness, suite, suite_code, suite_name
from everyhop.core.tls.versions import SSL3, TLS10, TLS12, TLS13


def test_every_suite_is_read_completely() -> None:
    for code in NAMES:
        found = suite(code)
        assert found.exchange, found
        assert found.authentication, found
        assert found.cipher, found
        assert not re.search(r"SHA|MD5|WITH|EXPORT", found.cipher), found
        assert found.bits or Weakness.NULL in found.weaknesses, found
        assert not (found.aead and Weakness.CBC in found.weaknesses), found


def test_suites_are_offered_once_each() -> None:
    offered = (*TLS13_SUITES, *TLS12_SUITES)
    assert len(set(offered)) == len(offered)
    assert set(offered) == set(NAMES) - {0x0000}


def test_the_first_hundred_suites_have_what_is_in_use() -> None:
    assert set(TLS12_SUITES[:100]) >= {0xC02F, 0xC02B, 0xCCA8, 0x009C, 0x002F, 0x000A}


@pytest.mark.parametrize(
    ("code", "exchange", "authentication", "cipher", "bits", "weaknesses"),
    [
        (0xC02F, "ECDHE", "RSA", "AES_128_GCM", 128, ()),
        (0xCCA9, "ECDHE", "ECDSA", "CHACHA20_POLY1305", 256, ()),
        (0x1302, "any", "any", "AES_256_GCM", 256, ()),
        (0x002F, "RSA", "RSA", "AES_128_CBC", 128, ("no-fs", "cbc")),
        (0x0005, "RSA", "RSA", "RC4_128", 128, ("rc4", "no-fs")),
        (0xC012, "ECDHE", "RSA", "3DES_EDE_CBC", 168, ("3des", "cbc")),
        (0x0019, "DHE", "anon", "DES40_CBC", 40, ("anon", "export", "des", "cbc")),
        (0x0003, "RSA", "RSA", "RC4_40", 40, ("export", "rc4", "no-fs")),
        (0xC006, "ECDHE", "ECDSA", "NULL", 0, ("null",)),
        (0xC018, "ECDHE", "anon", "AES_128_CBC", 128, ("anon", "cbc")),
        (0xC0AA, "DHE", "PSK", "AES_128_CCM_8", 128, ()),
        (0xC0B4, "any", "any", "NULL", 0, ("null",)),
        (0xC01E, "SRP", "RSA", "AES_128_CBC", 128, ("cbc",)),
        (0x1305, "any", "any", "AES_128_CCM_8", 128, ()),
    ],
)
def test_what_a_suite_is_made_of(
    code: int, exchange: str, authentication: str, cipher: str, bits: int, weaknesses: tuple[str, ...]
) -> None:
    found = suite(code)
    assert (found.exchange, found.authentication, found.cipher, found.bits) == (exchange, authentication, cipher, bits)
    assert found.weaknesses == weaknesses


def test_names_agree_with_openssl() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    listed = context.get_ciphers()
    assert len(listed) > 50
    for one in listed:
        found = suite(one["id"] & 0xFFFF)
        assert found.openssl == one["name"]
        assert found.aead == one["aead"]
        assert found.bits in (one["alg_bits"], one["strength_bits"], 168)
        assert suite_code(one["name"]) == suite_code(found.iana) == found.code


def test_a_suite_that_nobody_registered_has_no_properties() -> None:
    found = suite(0x6000)
    assert (found.iana, found.openssl, found.weaknesses, found.forward_secrecy) == ("0x6000", "", (), False)
    assert suite_name(0x6000) == "0x6000"
    assert suite_code("TLS_MADE_UP") is None


def test_groups() -> None:
    assert [name for name in map(groups.group_name, TLS13_GROUPS) if group(group_code(name) or 0).post_quantum][:3] == [
        "X25519MLKEM768",
        "SecP256r1MLKEM768",
        "SecP384r1MLKEM1024",
    ]
    assert set(TLS12_GROUPS) | set(TLS13_GROUPS) == set(GROUPS)
    assert not any(group(code).post_quantum for code in TLS12_GROUPS)
    assert group_code("P-256") == group_code("prime256v1") == group_code("secp256r1") == 23
    assert group_code("X25519") == 29
    assert group_code("nothing") is None
    assert group(0x0201).kind is Kind.KEM
    assert (group(0x2A2A).name, group(0x2A2A).bits) == ("0x2A2A", 0)
    assert all(groups.group_code(one.name) == one.code for one in GROUPS.values())


def test_versions() -> None:
    assert [versions.version_slug(code) for code in versions.NEWEST_FIRST] == [
        "tls13",
        "tls12",
        "tls11",
        "tls10",
        "ssl3",
    ]
    assert versions.version_names((TLS13, TLS12)) == "TLSv1.3, TLSv1.2"
    assert all(versions.version_code(name) == code for code, name in versions.NAMES.items())
    assert versions.version_code("TLS 1.2") == versions.version_code("tls1.2") == TLS12
    assert (versions.version_code("TLSv1"), versions.version_code("SSL 3"), versions.version_code("2")) == (
        TLS10,
        SSL3,
        None,
    )
    assert versions.version_name(0x0305) == "0x0305"


def test_alerts_and_signatures() -> None:
    assert alerts.alert_name(40) == "handshake failure"
    assert alerts.alert_name(200) == "200"
    assert signatures.signature_name(0x0804) == "rsa_pss_rsae_sha256"
    assert signatures.signature_name(0x9999) == "0x9999"
    assert {code for code in signatures.SIGNATURES if signatures.is_weak_signature(code)} == {
        0x0101,
        0x0201,
        0x0202,
        0x0203,
    }
