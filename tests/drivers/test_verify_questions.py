"""What verify mode asks for every guideline: little enough, and everything that is forbidden."""

from __future__ import annotations

import pytest

from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.guidelines.registry import GUIDELINES
from everyhop.core.tls.groups import TLS12_GROUPS, TLS13_GROUPS
from everyhop.core.tls.suites import TLS12_SUITES, TLS13_SUITES
from everyhop.core.tls.versions import NEWEST_FIRST, TLS12, TLS13
from everyhop.drivers.probes.hello.encode import FILLERS
from everyhop.drivers.probes.verify import MOST_HELLOS, Question, questions

ALL = [guideline for versions in GUIDELINES.values() for guideline in versions]


def asked(guideline: Guideline) -> dict[str, Question]:
    return {one.name: one for one in questions(guideline, "probe.test")}


@pytest.mark.parametrize("guideline", ALL, ids=str)
def test_every_guideline_takes_eight_hellos_at_most(guideline: Guideline) -> None:
    found = questions(guideline, "probe.test")
    assert len(found) <= MOST_HELLOS
    assert len({one.name for one in found}) == len(found)
    assert all(one.hello.server_name == "probe.test" and one.hello.suites for one in found)


@pytest.mark.parametrize("guideline", ALL, ids=str)
def test_whatever_is_not_permitted_is_offered_by_some_question_about_the_forbidden(guideline: Guideline) -> None:
    forbidden = [one for one in questions(guideline) if one.name.startswith("forbidden-")]
    permitted = {*guideline.suites_tls13, *guideline.suites_tls12}
    for version, suites, groups in ((TLS13, TLS13_SUITES, TLS13_GROUPS), (TLS12, TLS12_SUITES, TLS12_GROUPS)):
        if version not in guideline.versions:
            continue
        here = [one.hello for one in forbidden if one.hello.version == version]
        assert {code for hello in here for code in hello.suites} >= set(suites) - permitted
        with_groups = [one.hello for one in forbidden if one.name.startswith("forbidden-groups-")]
        if with_groups:
            offered = {code for hello in with_groups if hello.version == version for code in hello.groups}
            assert offered == set(groups) - {*guideline.groups, *guideline.preferred_groups}
    older = [version for version in NEWEST_FIRST if version < min(guideline.versions)]
    named = {one.name: one.hello for one in forbidden}
    assert not older or (named["forbidden-versions"].version, named["forbidden-versions"].suites) == (
        older[0],
        TLS12_SUITES,
    )


@pytest.mark.parametrize("guideline", ALL, ids=str)
def test_no_question_about_the_forbidden_can_be_answered_by_what_is_permitted(guideline: Guideline) -> None:
    for name, one in asked(guideline).items():
        if name.startswith("forbidden-suites-"):
            assert not {*guideline.suites_tls13, *guideline.suites_tls12} & {*one.hello.suites}
        if name.startswith("forbidden-groups-"):
            assert not {*guideline.groups} & {*one.hello.groups}


@pytest.mark.parametrize("guideline", ALL, ids=str)
def test_the_control_is_as_long_as_what_it_is_to_control(guideline: Guideline) -> None:
    found = asked(guideline)
    if "permitted-tls12" in found and "forbidden-suites-tls12" in found:
        control = found["permitted-tls12"].hello.suites
        assert len(control) == len(found["forbidden-suites-tls12"].hello.suites)
        assert tuple(code for code in control if code not in FILLERS) == guideline.suites_tls12
        assert control[0] in FILLERS, "the permitted ones come last, or a server that reads the beginning is not found"
