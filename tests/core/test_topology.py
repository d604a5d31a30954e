"""The topology file: the corpus of right and wrong files, the model's answers, and that nothing else ever escapes."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyhop.core import placeholders
from everyhop.core.document import parse
from everyhop.core.fault import FaultCode, Plain, TopologyFaults
from everyhop.core.fault import Path as FaultPath
from everyhop.core.hop import Address, Hop, Posture
from everyhop.core.layout import open_addresses
from everyhop.core.literals import format_duration, parse_duration
from everyhop.core.schema import json_schema
from everyhop.core.topology import Host, Hsts, Part, Policy, Service, Topology
from everyhop.core.validation import MODELS, read
from everyhop.errors import EveryhopError

CORPUS = Path(__file__).parent.parent / "corpus" / "topology"
WRONG = sorted(CORPUS.glob("wrong/*"))
RIGHT = sorted(CORPUS.glob("right/*"))
EXPECTED: dict[str, list[str]] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
TODAY = date(2026, 11, 22)

NOT_OUR_WORDS = ("Input should", "pydantic", "Field required", "Extra inputs", "Literal", "dict", "tuple", "Traceback")


def load(name: str) -> Topology:
    return read((CORPUS / "right" / name).read_text(encoding="utf-8"), file=name, today=TODAY)


def faults_of(path: Path) -> TopologyFaults:
    with pytest.raises(TopologyFaults) as caught:
        read(path.read_text(encoding="utf-8"), file=path.name, today=TODAY)
    return caught.value


# --- the corpus -----------------------------------------------------------------------------------------------


def test_the_corpus_and_its_expectations_are_the_same_files() -> None:
    assert [path.name for path in WRONG] == sorted(EXPECTED)
    assert len(WRONG) >= 36
    assert len(RIGHT) >= 6
    assert {path.parent.name for path in CORPUS.glob("*/*")} == {"right", "wrong"}
    assert {path.suffix for path in (*WRONG, *RIGHT)} == {".yaml"}


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_file_gets_exactly_its_messages(path: Path) -> None:
    assert [str(fault) for fault in faults_of(path).faults] == EXPECTED[path.name]


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_faults_are_complete_in_order_and_in_our_words(path: Path) -> None:
    error = faults_of(path)
    places = [(fault.line, fault.column) for fault in error.faults]
    assert places == sorted(places)
    for fault in error.faults:
        assert fault.expected
        assert fault.got
        assert fault.hint
        assert not any(word in str(fault) for word in NOT_OUR_WORDS)
        assert "hunter2" not in str(fault)
        assert "tr0ub4dor" not in str(fault)
        assert fault.as_json()["code"] == fault.code
    assert error.code.name == "topology-invalid"
    assert str(error).splitlines() == EXPECTED[path.name]


def test_every_kind_of_fault_has_an_example() -> None:
    assert {fault.code for path in WRONG for fault in faults_of(path).faults} == set(FaultCode)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_file_is_read(path: Path) -> None:
    topology = load(path.name)
    assert list(topology.services) == sorted(topology.services)
    assert len(topology.hops()) == len(set(topology.hops()))


# --- what a topology answers ----------------------------------------------------------------------------------


def test_the_full_file_uses_every_field_and_is_read_as_written() -> None:
    topology = load("full.yaml")
    used = {(type(part), field) for part in parts_of(topology) for field in part.model_fields_set}
    assert used == {(model, field) for model in MODELS.values() for field in model.model_fields}
    web, policy = topology.services["web"], topology.policy
    assert web.run is not None
    assert topology.edge is not None
    assert topology.edge.hsts is not None
    assert topology.edge.hsts.header == "max-age=63072000; includeSubDomains; preload"
    assert web.max_connection_age == timedelta(minutes=90)
    assert web.run.environment["LITERAL"] == "{{not a placeholder}}"
    assert topology.services["events"].listen == Address("127.0.0.1", 8083)
    assert topology.services["api"].listen == Address("::1", 8082)
    assert policy.mesh_ports == range(21000, 22000)
    assert policy.heartbeat == timedelta(milliseconds=500)
    assert str(topology.identity("web")) == "spiffe://shop.internal/demo/web"
    assert str(topology.identity("edge")) == "spiffe://shop.internal/demo/edge"


def test_hops_their_postures_and_callers() -> None:
    topology = load("full.yaml")
    assert {str(hop): topology.posture(hop) for hop in topology.hops()} == {
        "client -> edge": Posture.TLS,
        "edge -> legacy": Posture.PASSTHROUGH,
        "edge -> web": Posture.MTLS,
        "api -> db": Posture.MTLS,
        "api -> events": Posture.MTLS,
        "web -> api": Posture.MTLS,
        "web -> metrics": Posture.EXEMPT,
    }
    assert topology.callers("web") == ("edge",)
    assert topology.callers("db") == ("api",)
    assert topology.callers("metrics") == ()
    assert topology.callers("legacy") == ()
    exception = topology.exception_for(Hop("web", "metrics"))
    assert exception is not None
    assert exception.until == date(2027, 3, 1)
    assert topology.exception_for(Hop("web", "api")) is None


def test_a_topology_without_edge_has_no_client() -> None:
    assert load("minimal.yaml").hops() == ()
    assert [str(hop) for hop in load("aliases.yaml").hops()] == [
        "one -> two",
        "three -> two",
        "two -> one",
        "two -> three",
    ]


def test_connection_age_is_half_a_leaf_and_at_most_an_hour_unless_said() -> None:
    full = load("full.yaml")
    assert full.connection_age("web") == timedelta(minutes=90)
    assert full.connection_age("events") == timedelta(minutes=45)
    assert full.connection_age("edge") == timedelta(minutes=45)
    assert load("minimal.yaml").connection_age("web") == timedelta(hours=1)
    assert load("aliases.yaml").connection_age("one") == timedelta(seconds=1)


def test_the_authority_vouches_for_the_trust_domain_and_the_hosts_it_serves() -> None:
    assert load("full.yaml").names == ("shop.internal", "shop.localhost")
    assert load("prod.yaml").names == ("prod.shop.internal", "shop.localhost")
    assert load("passthrough.yaml").names == ("shop.internal",)


def test_two_trust_domains_on_one_machine_share_nothing() -> None:
    prod, staging = load("prod.yaml"), load("staging.yaml")
    assert prod.trust_domain != staging.trust_domain
    assert not addresses_of(prod) & addresses_of(staging)
    assert prod.identity("web") != staging.identity("web")


def test_hsts_is_on_by_default_and_off_when_said() -> None:
    passthrough, prod = load("passthrough.yaml").edge, load("prod.yaml").edge
    assert passthrough is not None
    assert prod is not None
    assert passthrough.hsts is None
    assert prod.hsts == Hsts()
    assert Hsts().header == "max-age=31536000"


def test_a_topology_cannot_be_changed_and_shows_no_environment() -> None:
    topology = load("full.yaml")
    with pytest.raises(ValueError):
        topology.environment = "other"  # pyright: ignore[reportAttributeAccessIssue] - that it is refused is the test
    with pytest.raises(TypeError):
        cast("dict[str, Service]", topology.services)["new"] = topology.services["web"]
    assert "postgresql://" not in repr(topology)


def test_models_can_be_built_in_code() -> None:
    service = Service(owner="a", listen=Address("127.0.0.1", 8081), max_connection_age=timedelta(hours=1))
    assert service.protocol == "http"
    assert Host(to="web").service == "web"
    assert Policy(leaf_lifetime=timedelta(seconds=2)).connection_age == timedelta(seconds=1)


def test_an_exception_holds_through_its_last_day() -> None:
    path = CORPUS / "right" / "exceptions.yaml"
    text = path.read_text(encoding="utf-8")
    read(text, file="f", today=date(2026, 11, 22))
    with pytest.raises(TopologyFaults) as caught:
        read(text, file="f", today=date(2026, 11, 23))
    assert [(fault.code, fault.path) for fault in caught.value.faults] == [(FaultCode.EXPIRED, "exceptions[0].until")]


def parts_of(value: object) -> Iterator[Part]:
    if isinstance(value, Part):
        yield value
        for field in type(value).model_fields:
            yield from parts_of(getattr(value, field))
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, object]", value).values():
            yield from parts_of(item)
    elif isinstance(value, tuple):
        for item in cast("tuple[object, ...]", value):
            yield from parts_of(item)


def narrowed(text: str, size: int) -> str:
    """A topology whose band, far from all other addresses, has so many ports."""
    value = cast("dict[str, Any]", parse(text, file="f").value)
    return json.dumps(value | {"policy": value.get("policy", {}) | {"mesh_ports": f"50000-{49999 + size}"}})


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_band_of_ports_holds_every_address_that_is_left_open(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wanted = len(open_addresses(load(path.name)))
    enough = read(narrowed(text, max(wanted, 1)), file="f", today=TODAY)
    assert len(enough.policy.mesh_ports) == max(wanted, 1)
    if wanted > 1:
        with pytest.raises(TopologyFaults, match=f"expected at least {wanted} ports.*got {wanted - 1} in 50000-"):
            read(narrowed(text, wanted - 1), file="f", today=TODAY)


def test_the_default_band_is_too_small_for_some_and_says_so() -> None:
    services = {"hub": {"owner": "a", "listen": "127.0.0.1:7000"}}
    services |= {f"s{n}": {"owner": "a", "listen": f"127.0.0.1:{20000 + n}", "calls": ["hub"]} for n in range(1000)}
    value = {"everyhop": 1, "trust_domain": "a.internal", "environment": "e", "owners": {"a": {"contact": "a"}}}
    with pytest.raises(TopologyFaults) as caught:
        read(json.dumps(value | {"services": services}), file="f", today=TODAY)
    (fault,) = caught.value.faults
    assert (fault.code, fault.path) == (FaultCode.CONFLICT, "services")
    assert fault.expected.startswith("policy.mesh_ports to hold at least 1001 ports")


def addresses_of(topology: Topology) -> set[Address]:
    edge = {topology.edge.https} if topology.edge else set[Address]()
    return edge | {service.listen for service in topology.services.values()}


# --- durations and placeholders -------------------------------------------------------------------------------


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=9999)))
@settings(deadline=None, database=None)
def test_durations_are_read_as_they_are_written(length: timedelta) -> None:
    length -= timedelta(microseconds=length.microseconds % 1000)
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1h1h", "1m1h", "-1h", "1.5h", "1 h", "1w", "999999999d999999999d", "1H"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_placeholders_are_filled_once() -> None:
    values = placeholders.values(
        data="/data",
        file_dir="/etc/{data}",
        listen=Address("::1", 8081),
        calls={"db": Address(path="/data/db.sock"), "api": Address("127.0.0.1", 7001)},
    )
    assert placeholders.fill("{{}} {file_dir} {listen} {listen.host}", values) == "{} /etc/{data} [::1]:8081 ::1"
    assert placeholders.fill("{calls.db} {calls.db.path}", values) == "unix:/data/db.sock /data/db.sock"
    assert placeholders.fill("{calls.api.port}", values) == "7001"
    calls = {"db": Address(path="/data/db.sock"), "api": Address("127.0.0.1", 7001)}
    assert placeholders.known(Address("::1", 8081), calls) == set(values)
    for stray in ("{", "}", "{a}}", "{{a}"):
        with pytest.raises(ValueError):
            placeholders.fill(stray, {"a": "b"})


def test_a_socket_in_the_data_directory_is_placed_there_if_the_system_allows() -> None:
    listen = load("unix.yaml").services["db"].listen
    assert listen.is_loopback
    assert placeholders.place(listen, "/var/lib/everyhop/") == Address(path="/var/lib/everyhop/db/.s.PGSQL.5432")
    assert placeholders.place(Address("127.0.0.1", 1), "/data") == Address("127.0.0.1", 1)
    with pytest.raises(EveryhopError, match="at most 107 bytes"):
        placeholders.place(listen, "/" + "long" * 30)


# --- whatever comes -------------------------------------------------------------------------------------------

TEXTS = [path.read_text(encoding="utf-8") for path in (*RIGHT, *WRONG)]
PIECES = [
    "null",
    "{}",
    "[]",
    "{a: b}",
    "[a]",
    "1",
    "1e999",
    "true",
    '""',
    "off",
    "edge",
    "{calls.x}",
    "web -> api",
    "*x",
    "&x",
]


def is_read_or_refused(text: str) -> None:
    """Anything but :class:`TopologyFaults` fails the test by itself."""
    try:
        said = str(read(text, file="f", today=TODAY).hops())
    except TopologyFaults as error:
        said = str(error)
    assert said
    assert not any(word in said for word in ("Input should", "pydantic"))


@given(st.text(alphabet="everyhop: 1\n-[]{}&*!'\"#,servicwb.>"))
@settings(deadline=None, database=None)
def test_any_text_is_a_topology_or_a_list_of_faults(text: str) -> None:
    is_read_or_refused(text)


@given(st.sampled_from(TEXTS), st.data())
@settings(deadline=None, database=None, max_examples=150)
def test_a_damaged_file_is_a_topology_or_a_list_of_faults(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    is_read_or_refused(text[:start] + data.draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=8))) + text[end:])


@given(st.sampled_from([path.name for path in RIGHT]), st.data())
@settings(deadline=None, database=None, max_examples=150)
def test_a_file_with_another_value_somewhere_is_a_topology_or_a_list_of_faults(name: str, data: st.DataObject) -> None:
    value = parse((CORPUS / "right" / name).read_text(encoding="utf-8"), file=name).value
    where = data.draw(st.sampled_from(sorted(places_of(value), key=str)))
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(PIECES)
    )
    other = data.draw(
        st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
    )
    is_read_or_refused(json.dumps(replaced(value, where, other)))


def places_of(value: Plain, path: FaultPath = ()) -> Iterator[FaultPath]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places_of(item, (*path, index))


def replaced(value: Any, path: FaultPath, other: object) -> Any:
    if not path:
        return other
    copy: Any = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


# --- the schema for editors -----------------------------------------------------------------------------------


def test_the_schema_and_the_models_say_the_same_keys() -> None:
    schema = cast("dict[str, Any]", json_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == "everyhop.schema.json"
    objects = {name: part for name, part in schema["$defs"].items() if part["type"] == "object"}
    objects["Topology"] = schema
    models = {model.__name__: model for model in MODELS.values()}
    assert set(objects) == set(models)
    for name, model in models.items():
        assert set(objects[name]["properties"]) == set(model.model_fields)
        assert set(objects[name].get("required", ())) == {k for k, f in model.model_fields.items() if f.is_required()}
        assert objects[name]["additionalProperties"] is False
        assert objects[name]["title"] == name
        assert objects[name]["description"]


def test_every_field_explains_itself_and_its_default() -> None:
    for model in MODELS.values():
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            if not field.is_required() and model not in (
                MODELS["edge", "hosts", "*"],
                MODELS["services", "*", "run", "health"],
            ):
                said = "Default:" in field.description or name == "security_level"
                assert said, f"{model.__name__}.{name} does not say its default"


def test_defaults_in_the_schema_are_written_as_in_the_file() -> None:
    definitions = cast("dict[str, Any]", json_schema())["$defs"]
    policy = definitions["Policy"]["properties"]
    some = ("leaf_lifetime", "renew_at", "key_exchange", "leaf_key", "mesh_ports")
    assert {key: policy[key]["default"] for key in some} == {
        "leaf_lifetime": "1d",
        "renew_at": 0.5,
        "key_exchange": ["X25519MLKEM768", "X25519", "P-256"],
        "leaf_key": "p256",
        "mesh_ports": "15400-16399",
    }
    assert '"type": "null"' not in json.dumps(definitions)
    json.dumps(json_schema())


def test_every_model_has_its_place_in_the_file() -> None:
    def below(model: type[Part]) -> set[type[Part]]:
        found: set[type[Part]] = {model}
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                found |= below(inner)
        return found

    assert below(Topology) == set(MODELS.values())


def models_in(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
