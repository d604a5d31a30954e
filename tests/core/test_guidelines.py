"""Guidelines: what is published is what stands here, each can be found, and one's own can be written."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.fault import FileFaults
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.reading import read_guideline
from everyhop.core.guidelines.registry import ALIASES, DEFAULT, GUIDELINES, find
from everyhop.core.tls.groups import group_name
from everyhop.core.tls.suites import suite
from everyhop.core.tls.versions import TLS12, TLS13
from everyhop.errors import EveryhopError, ExitStatus

ALL = [one for versions in GUIDELINES.values() for one in versions]

OWN = """\
name: shop-partners
version: "2026-11"
published: 2026-11-22
versions: [TLSv1.3, TLSv1.2]
suites_tls13: [TLS_AES_128_GCM_SHA256]
suites_tls12: [ECDHE-RSA-AES256-GCM-SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]
groups: [X25519MLKEM768, x25519, P-256]
preferred_groups: [X25519MLKEM768]
required_versions: [TLSv1.3]
certificate_keys: [ecdsa-p256, rsa-3072]
hsts_seconds_min: 31536000
server_order: true
"""


@pytest.mark.parametrize("one", ALL, ids=str)
def test_every_guideline_is_whole(one: Guideline) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+", one.name)
    assert one.source
    assert list(one.versions) == sorted(one.versions, reverse=True), "best first"
    assert bool(one.suites_tls13) == (TLS13 in one.versions)
    assert bool(one.suites_tls12) == any(version <= TLS12 for version in one.versions)
    assert all(suite(code).tls13 for code in one.suites_tls13)
    assert not any(suite(code).tls13 for code in one.suites_tls12)
    assert set(one.preferred_groups) <= set(one.groups)
    assert set(one.required_versions) <= set(one.versions)
    for codes in (one.versions, one.suites_tls13, one.suites_tls12, one.groups):
        assert len(codes) == len(set(codes))


def test_mozilla_intermediate_is_as_published() -> None:
    newest, middle, older = GUIDELINES["mozilla-intermediate"]
    published = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ]
    dhe = ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305"]
    assert [suite(code).openssl for code in newest.suites_tls12] == published
    assert middle.suites_tls12 == newest.suites_tls12
    assert [suite(code).openssl for code in older.suites_tls12] == published + dhe, "5.8 dropped DHE"
    assert list(map(group_name, newest.groups)) == ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"]
    assert older.groups == newest.groups[1:]


def test_the_clouds_grow_looser_in_steps() -> None:
    names = ("aws-elb-tls13-1-2-res", "aws-elb-tls13-1-2", "aws-elb-tls13-1-2-ext1", "aws-elb-tls13-1-2-ext2")
    steps = [set(find(name).suites_tls12) for name in names]
    assert [len(step) for step in steps] == [4, 8, 12, 18]
    assert all(less < more for less, more in pairwise(steps))
    assert set(find("azure-appgw-s").suites_tls12) == steps[0]


def test_a_name_alone_is_its_newest_version() -> None:
    assert str(find("mozilla-modern")) == "mozilla-modern 6.0"
    assert str(find("mozilla-modern@5.7")) == "mozilla-modern 5.7"
    assert find(DEFAULT).name == DEFAULT
    assert all(find(name) is one for name, one in ALIASES.items())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mozila-modern", "did you mean 'mozilla-modern'?"),
        ("AppGwSslPolicy20220101X", "did you mean 'AppGwSslPolicy20220101'?"),
        ("mozilla-modern@4", "there are mozilla-modern@6.0, mozilla-modern@5.8, mozilla-modern@5.7"),
        ("quux", "`everyhop profiles` lists them"),
    ],
)
def test_an_unknown_name_gets_the_nearest_known(name: str, hint: str) -> None:
    with pytest.raises(EveryhopError) as caught:
        find(name)
    assert caught.value.code.name == "guideline-invalid"
    assert caught.value.code.exit_status is ExitStatus.USAGE
    assert hint.rstrip("?").rstrip("'") in caught.value.hint


def test_a_guideline_of_ones_own() -> None:
    one = read_guideline(OWN, file="own.yaml")
    assert str(one) == "shop-partners 2026-11"
    assert one.suites_tls12 == (0xC030, 0xC02C)
    assert one.groups == (0x11EC, 29, 23)
    assert one.server_order is True
    assert one.source == "own.yaml"


def test_json_is_read_too() -> None:
    text = '{"name": "a", "version": "1", "versions": ["TLSv1.3"], "suites_tls13": ["TLS_AES_128_GCM_SHA256"],'
    assert read_guideline(text + '"groups": ["x25519"]}', file="own.json").versions == (TLS13,)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: shop-partners", "name: Shop", "own.yaml:1:7: name: expected lower-case letters"),
        ('version: "2026-11"', "version: 1", "own.yaml:2:10: version: expected a text"),
        ("published: 2026-11-22", "published: soon", "own.yaml:3:12: published: expected a date"),
        ("TLSv1.3, TLSv1.2]", "TLSv1.3, TLSv9]", "own.yaml:4:21: versions[1]: expected a registered name"),
        ("SHA384,", "SHA38,", "did you mean 'ECDHE-RSA-AES256-GCM-SHA384'?"),
        ("groups: [X25519MLKEM768, x25519, P-256]", "group: []", "did you mean 'groups'?"),
        (
            "groups: [X25519MLKEM768, x25519, P-256]",
            "groups: []",
            "groups: expected a list of names, got an empty list",
        ),
        ("preferred_groups: [X25519MLKEM768]", "preferred_groups: [x448]", "expected only what is permitted, too"),
        ("suites_tls13: [TLS_AES_128_GCM_SHA256]\n", "", "expected suites_tls13, because a version that needs them"),
        ("rsa-3072", "rsa", "certificate_keys[1]: expected a kind of key"),
        ("31536000", "-1", "hsts_seconds_min: expected a whole number"),
        ("server_order: true", "server_order: perhaps", "server_order: expected true or false"),
    ],
)
def test_every_fault_in_a_guideline_has_its_place(old: str, new: str, told: str) -> None:
    assert old in OWN
    with pytest.raises(FileFaults) as caught:
        read_guideline(OWN.replace(old, new), file="own.yaml")
    assert caught.value.code.name == "guideline-invalid"
    assert told in str(caught.value)


@given(st.text(max_size=300) | st.text("{}[]:,-\n \"'abtls13", max_size=200))
def test_any_text_is_a_guideline_or_has_faults(text: str) -> None:
    try:
        read_guideline(text, file="own.yaml")
    except FileFaults as caught:
        told = caught.faults
        assert told
