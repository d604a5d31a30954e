"""What goes wrong in Envoy's configuration: bootstraps and fragments of xDS, as YAML or JSON.

Rules: Envoy's defaults count as what they are: a TLS context without a validation context verifies nobody, and one
without matchers takes every certificate of the authority. Where endpoints are discovered, nobody can tell from a file
where they are. A cluster that only receives passed-through TLS is no plaintext hop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.ciphers import judge_list, least, too_low
from everyhop.core.lint.hops import is_local
from everyhop.core.lint.manifest import Manifest, Node, parse_manifest
from everyhop.core.lint.reasons import (
    NAME_UNCHECKED,
    NAME_UNCHECKED_SOURCE,
    OLD_VERSION,
    OLD_VERSION_SOURCE,
    PLAIN_HOP,
    PLAIN_HOP_SOURCE,
    UNMANAGED,
    UNMANAGED_SOURCE,
    UNVERIFIED,
    WEAK_SUITE,
    WEAK_SUITE_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.text import evidence
from everyhop.core.verdict import Verdict

_MANUAL = "Envoy, transport_sockets.tls.v3"
_LOOKS = re.compile(
    r"type\.googleapis\.com/envoy\.|^\s{0,80}[\"']?(?:static|dynamic)_resources[\"']?\s{0,9}:", re.MULTILINE
)
_NAMES = (
    "match_typed_subject_alt_names",
    "match_subject_alt_names",
    "verify_certificate_hash",
    "verify_certificate_spki",
)
_ELSEWHERE = ("validation_context_sds_secret_config", "combined_validation_context", "custom_validator_config")
_PRIVATE = re.compile(r"10\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|f[cd][0-9a-f]{2}:", re.IGNORECASE)
_INTERNAL = re.compile(r"(?i)internal|inbound|mesh|sidecar|mtls")


def _reads(file: File) -> bool:
    return file.path.endswith((".yaml", ".yml", ".json")) and _LOOKS.search(file.text) is not None


def _typed(manifest: Manifest, kind: str) -> Iterator[Node]:
    """Every value of a type, by the last word of its ``@type``."""
    return (
        node for node in manifest.walk() if isinstance(node.value, dict) and node.text("@type").endswith(f".{kind}")
    )


def _contexts(manifest: Manifest) -> Iterator[Node]:
    yield from _typed(manifest, "UpstreamTlsContext")
    yield from _typed(manifest, "DownstreamTlsContext")


# --- versions and suites ------------------------------------------------------------------------------------------


def _versions(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    for context in _contexts(manifest):
        way = ("common_tls_context", "tls_params")
        for field in ("tls_minimum_protocol_version", "tls_maximum_protocol_version"):
            name = context.text(*way, field)
            if name and too_low(name, guideline):
                statement = f"expected {least(guideline)} or newer, got {name}"
                yield Hit(context.at(*way, field), statement, f"{field}: {evidence(name)}")


def _version_unset(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    for context in _contexts(manifest):
        if not context.text("common_tls_context", "tls_params", "tls_minimum_protocol_version"):
            statement = f"expected tls_minimum_protocol_version of {least(guideline)} or newer, got none"
            yield Hit(context.at(), statement, _said(context))


def _ciphers(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    for context in _contexts(manifest):
        for one in context.each("common_tls_context", "tls_params", "cipher_suites"):
            name = one.text()
            judgement = judge_list(name.strip("[]").replace("|", ":"), guideline)
            if judgement.broken:
                yield Hit(one.at(), f"expected a sound suite, got {', '.join(judgement.broken)}", evidence(name))
            elif judgement.beyond:
                statement = f"expected a suite that {guideline} permits, got {', '.join(judgement.beyond)}"
                yield Hit(one.at(), statement, evidence(name), Severity.LOW)


def _said(node: Node) -> str:
    return evidence(node.text("@type").rpartition(".")[2])


# --- whom Envoy talks to ------------------------------------------------------------------------------------------


def _validation(context: Node) -> Node | None:
    """Where a context says whom it trusts, if it says so in the file."""
    common = ("common_tls_context",)
    return context.get(*common, "validation_context") or context.get(
        *common, "combined_validation_context", "default_validation_context"
    )


def _discovers(context: Node) -> bool:
    return any(context.get("common_tls_context", field) for field in _ELSEWHERE)


def _unverified(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for context in _contexts(manifest):
        validation = _validation(context)
        if validation and validation.text("trust_chain_verification") == "ACCEPT_UNTRUSTED":
            statement = "expected a verified chain, got ACCEPT_UNTRUSTED: anybody's certificate will do"
            yield Hit(validation.at("trust_chain_verification"), statement, _said(context))
    for context in _typed(manifest, "UpstreamTlsContext"):
        validation = _validation(context)
        anchors = ("trusted_ca", "ca_certificate_provider_instance", "system_root_certs", *_NAMES[2:])
        trusts = validation is not None and any(validation.get(field) for field in anchors)
        if not trusts and not _discovers(context):
            statement = "expected a validation context with a trusted CA, got none: Envoy then verifies nobody"
            yield Hit(context.at(), statement, _said(context))


def _name_unchecked(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for context in _typed(manifest, "UpstreamTlsContext"):
        validation = _validation(context)
        automatic = context.text("auto_sni_san_validation") == "true"
        named = validation is not None and any(validation.get(field) for field in _NAMES)
        if named or automatic or (validation is None and not _discovers(context)):
            continue
        if validation is None:
            statement = "expected names to match, and the discovered validation context may have them or not"
            yield Hit(context.at(), statement, _said(context), Severity.LOW, Verdict.UNKNOWN)
        else:
            statement = "expected match_typed_subject_alt_names, got none: any certificate of the authority will do"
            yield Hit(context.at(), statement, _said(context))


def _plain(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    through = _passed_through(manifest)
    for cluster in _clusters(manifest):
        name = cluster.text("name")
        socket = cluster.get("transport_socket")
        kind = socket.text("typed_config", "@type") + socket.text("name") if socket else ""
        if (socket and "raw_buffer" not in kind.lower()) or cluster.get("transport_socket_matches") or name in through:
            continue
        for address in _addresses(cluster):
            if not is_local(address.text("address")):
                statement = (
                    f"expected a transport_socket with TLS towards {evidence(address.text('address'))}, got none"
                )
                yield Hit(address.at("address"), statement, f"cluster {evidence(name)}")
                break


def _clusters(manifest: Manifest) -> Iterator[Node]:
    for node in manifest.walk():
        if node.text("@type").endswith(".Cluster"):
            yield node
        elif isinstance(node.value, dict) and not node.text("@type"):
            yield from (one for one in node.each("clusters") if one.get("load_assignment"))


def _addresses(cluster: Node) -> Iterator[Node]:
    for locality in cluster.each("load_assignment", "endpoints"):
        for endpoint in locality.each("lb_endpoints"):
            address = endpoint.get("endpoint", "address", "socket_address")
            if address is not None:
                yield address


def _passed_through(manifest: Manifest) -> set[str]:
    """Clusters to which a listener that reads only the hello passes TLS on as it comes."""
    names: set[str] = set()
    for listener in _listeners(manifest):
        if not any("tls_inspector" in one.text("name") for one in listener.each("listener_filters")):
            continue
        for chain in listener.each("filter_chains"):
            if chain.get("transport_socket") is None and chain.get("filter_chain_match"):
                names |= {one.text("typed_config", "cluster") for one in chain.each("filters")} - {""}
    return names


# --- who talks to Envoy -------------------------------------------------------------------------------------------


def _listeners(manifest: Manifest) -> Iterator[Node]:
    return (node for node in manifest.walk() if isinstance(node.value, dict) and "filter_chains" in node.value)


def _is_internal(listener: Node) -> bool:
    """True if a listener is for services: inbound, on a private address, or so called."""
    host = listener.text("address", "socket_address", "address")
    if is_local(host) and host not in ("0.0.0.0", "::", ""):  # noqa: S104  # read, not bound
        return False
    named = _INTERNAL.search(listener.text("name")) is not None
    return named or listener.text("traffic_direction") == "INBOUND" or _PRIVATE.match(host) is not None


def _client(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for listener in filter(_is_internal, _listeners(manifest)):
        for chain in listener.each("filter_chains"):
            context = chain.get("transport_socket", "typed_config")
            if context is None or not context.text("@type").endswith(".DownstreamTlsContext"):
                continue
            if context.text("require_client_certificate") != "true":
                statement = "expected require_client_certificate: true on an internal listener, got none"
                yield Hit(context.at(), statement, f"listener {evidence(listener.text('name'))}")


def _unmanaged(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for context in _typed(manifest, "DownstreamTlsContext"):
        for one in context.each("common_tls_context", "tls_certificates"):
            if one.get("certificate_chain", "filename") and not one.get("watched_directory"):
                statement = "expected SDS or a watched_directory, got files that are read once: renewal goes unseen"
                yield Hit(one.at(), statement, evidence(one.text("certificate_chain", "filename")))


def _keylog(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for context in _contexts(manifest):
        if context.get("common_tls_context", "key_log", "path"):
            yield Hit(context.at("common_tls_context", "key_log"), "expected no key_log, got one", _said(context))


def _cluster(socket: str) -> str:
    return f"""\
static_resources:
  clusters:
    - name: api
      load_assignment:
        cluster_name: api
        endpoints:
          - lb_endpoints:
              - endpoint: {{address: {{socket_address: {{address: 10.0.0.5, port_value: 8443}}}}}}
{socket}"""


def _tls(validation: str, *, params: str = "{tls_minimum_protocol_version: TLSv1_3}") -> str:
    return f"""\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          common_tls_context:
            tls_params: {params}
{validation}"""


def _listener(body: str) -> str:
    return f"""\
static_resources:
  listeners:
    - name: inbound
      address: {{socket_address: {{address: 10.0.0.4, port_value: 8443}}}}
      filter_chains:
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              require_client_certificate: true
              common_tls_context:
                tls_params: {{tls_minimum_protocol_version: TLSv1_3}}
{body}"""


_TRUST = "            validation_context:\n              trusted_ca: {filename: /etc/everyhop/bundle.pem}\n"
_MATCH = """\
              match_typed_subject_alt_names:
                - {san_type: URI, matcher: {exact: "spiffe://shop/prod/api"}}
"""
_GOOD = _cluster(_tls(_TRUST + _MATCH))

RULES: tuple[Rule[Manifest], ...] = (
    Rule(
        "envoy-version-old",
        Severity.HIGH,
        OLD_VERSION_SOURCE,
        OLD_VERSION,
        "write `tls_params: {tls_minimum_protocol_version: TLSv1_3}`; TLSv1_2 where clients need it",
        bad=_cluster(_tls(_TRUST + _MATCH, params="{tls_minimum_protocol_version: TLSv1_0}")),
        good=_GOOD,
        check=_versions,
    ),
    Rule(
        "envoy-version-unset",
        Severity.LOW,
        f"{_MANUAL}: TlsParameters",
        "what is not said changes with the version of Envoy, and nobody who reads the file knows it",
        "write `tls_params: {tls_minimum_protocol_version: TLSv1_3}`; TLSv1_2 where clients need it",
        bad=_cluster(_tls(_TRUST + _MATCH, params="{}")),
        good=_GOOD,
        check=_version_unset,
    ),
    Rule(
        "envoy-cipher-weak",
        Severity.HIGH,
        WEAK_SUITE_SOURCE,
        WEAK_SUITE,
        "set `cipher_suites` to the guideline's list; `everyhop profiles NAME` prints it",
        bad=_cluster(
            _tls(_TRUST + _MATCH, params="{tls_minimum_protocol_version: TLSv1_2, cipher_suites: [DES-CBC3-SHA]}")
        ),
        good=_GOOD,
        check=_ciphers,
    ),
    Rule(
        "envoy-upstream-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "give the cluster a `transport_socket` with an UpstreamTlsContext",
        bad=_cluster(""),
        good=_GOOD,
        check=_plain,
    ),
    Rule(
        "envoy-upstream-unverified",
        Severity.HIGH,
        f"{_MANUAL}: CertificateValidationContext; RFC 9525, 6",
        UNVERIFIED,
        "give the context a `validation_context` with `trusted_ca` and `match_typed_subject_alt_names`",
        bad=_cluster(_tls("")),
        good=_GOOD,
        check=_unverified,
    ),
    Rule(
        "envoy-upstream-name-unchecked",
        Severity.MEDIUM,
        NAME_UNCHECKED_SOURCE,
        NAME_UNCHECKED,
        "add `match_typed_subject_alt_names` with the one identity that should answer",
        bad=_cluster(_tls(_TRUST)),
        good=_GOOD,
        check=_name_unchecked,
    ),
    Rule(
        "envoy-client-optional",
        Severity.MEDIUM,
        "RFC 8446, 4.4.2.4; NIST SP 800-207A, 4",
        "whoever reaches an internal listener gets in: it knows nobody",
        "write `require_client_certificate: true`, and name the authority and the identities that may call",
        bad=_listener("").replace("require_client_certificate: true", "require_client_certificate: false"),
        good=_listener(""),
        check=_client,
    ),
    Rule(
        "envoy-certificate-unmanaged",
        Severity.LOW,
        UNMANAGED_SOURCE,
        UNMANAGED,
        "deliver the certificate by SDS, or add `watched_directory`",
        bad=_listener("                tls_certificates: [{certificate_chain: {filename: /etc/envoy/api.pem}}]\n"),
        good=_listener(""),
        check=_unmanaged,
    ),
    Rule(
        "envoy-keylog",
        Severity.CRITICAL,
        f"{_MANUAL}: TlsKeyLog; RFC 9850, 4",
        "the keys of every connection are written to a file: whoever reads it reads the traffic",
        "take `key_log` out",
        bad=_listener("                key_log: {path: /tmp/keys.log}\n"),
        good=_listener(""),
        check=_keylog,
    ),
)

ENVOY: Language[Manifest] = Language("Envoy configuration", "envoy.yaml", _reads, parse_manifest, RULES)
