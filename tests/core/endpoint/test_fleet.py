"""Fleet files: every line is read, or every fault is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everyhop.core.endpoint.fleet import read_fleet
from everyhop.core.endpoint.target import Wire
from everyhop.core.fault import FileFaults
from everyhop.errors import ExitStatus

FLEET = """\
# the payment systems
shop.example.org
db1.internal:5432      owner=payments service=ledger name=ledger.internal   # by its address
smtp://mail.example.org profile=mozilla-old@5.8

[2001:db8::1]:8443 owner=edge#1
"""


def test_a_line_is_an_endpoint_and_what_is_known_of_it() -> None:
    shop, ledger, mail, six = read_fleet(FLEET, file="fleet.txt")
    assert (str(shop.target), shop.line, shop.profile) == ("shop.example.org:443", 2, "")
    assert (ledger.target.owner, ledger.target.service, ledger.target.name) == ("payments", "ledger", "ledger.internal")
    assert ledger.target.wire is Wire.POSTGRESQL
    assert (str(mail.target), mail.profile) == ("mail.example.org:25", "mozilla-old@5.8")
    assert (str(six.target), six.target.owner) == ("[2001:db8::1]:8443", "edge#1")


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    text = "a.example:0\nb.example owner= colour=red owner=x owner=y what\n\nc.example\nC.example:443 # again\n"
    with pytest.raises(FileFaults) as caught:
        read_fleet(text, file="fleet.txt")
    assert [fault.line for fault in caught.value.faults] == [1, 2, 2, 2, 2, 5]
    assert caught.value.code.exit_status is ExitStatus.USAGE
    told = str(caught.value)
    assert "fleet.txt:1:1: expected a port from 1 to 65535" in told
    assert "fleet.txt:2:18: expected owner, service, name or profile, got 'colour'" in told
    assert "it stands in line 4 already" in told


def test_the_same_endpoint_under_two_names_is_two() -> None:
    assert len(read_fleet("10.0.0.1:443 name=a.example\n10.0.0.1:443 name=b.example\n", file="f")) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n"])
def test_a_fleet_of_nobody_proves_nothing(text: str) -> None:
    with pytest.raises(FileFaults, match="at least one endpoint"):
        read_fleet(text, file="f")


@given(st.text(max_size=300))
def test_any_text_is_a_fleet_or_has_faults(text: str) -> None:
    try:
        assert read_fleet(text, file="f")
    except FileFaults as caught:
        told = caught.faults
        assert told
