"""What goes wrong in Kubernetes manifests: what containers are told, how Ingresses serve, what a mesh permits.

Rules: an object counts by its ``kind``, in whatever document of a file, and inside of a List. Annotations are those of
ingress-nginx and cert-manager; other controllers have others, so what is missing is said only of TLS itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from everyhop.core.finding import Severity
from everyhop.core.guidelines.guideline import Guideline
from everyhop.core.lint.manifest import Manifest, Node, parse_manifest
from everyhop.core.lint.reasons import (
    KEY_LOG,
    KEY_LOG_SOURCE,
    NO_REDIRECT,
    NO_REDIRECT_SOURCE,
    PLAIN_HOP,
    PLAIN_HOP_SOURCE,
    UNMANAGED,
    UNMANAGED_SOURCE,
    UNVERIFIED,
    UNVERIFIED_SOURCE,
)
from everyhop.core.lint.rule import File, Hit, Language, Rule
from everyhop.core.lint.surroundings import Setting, key_logs, plain_settings, unverified_settings
from everyhop.core.lint.text import evidence

_LOOKS = re.compile(r"^[\"'\s{]{0,20}(?:apiVersion|kind)[\"']?\s{0,9}:", re.MULTILINE)
_INGRESS_NGINX = "nginx.ingress.kubernetes.io/"


def _reads(file: File) -> bool:
    both = "apiVersion" in file.text and "kind" in file.text
    return both and file.path.endswith((".yaml", ".yml", ".json")) and _LOOKS.search(file.text) is not None


def _objects(manifest: Manifest, *kinds: str) -> Iterator[Node]:
    """The objects of these kinds, those of Lists too."""
    for document in manifest.documents:
        for one in (document, *document.each("items")):
            if one.text("kind") in kinds:
                yield one


def settings(manifest: Manifest) -> Iterator[Setting]:
    """Every variable and argument of every container, and what ConfigMaps hold."""
    for document in manifest.documents:
        for node in document.walk():
            if not (isinstance(node.value, dict) and ("image" in node.value or "env" in node.value)):
                continue
            for one in node.each("env"):
                if one.get("value"):
                    yield Setting(one.text("name"), one.text("value"), one.at("value"))
            words = [word for field in ("command", "args") for word in node.each(field)]
            if words:
                yield Setting("", " ".join(word.text() for word in words), words[0].at())
    for config in _objects(manifest, "ConfigMap"):
        data = config.get("data")
        for name, value in data.items() if data else ():
            if "\n" not in value.text().strip():
                yield Setting(name, value.text(), value.at())


def _on(check: Callable[[Iterator[Setting]], Iterator[Hit]]) -> Callable[[Manifest, Guideline], Iterator[Hit]]:
    return lambda manifest, guideline: check(settings(manifest))


def _verification(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    yield from unverified_settings(settings(manifest))
    for node in manifest.walk():
        for field in ("insecureSkipTLSVerify", "insecure-skip-tls-verify", "insecureSkipVerify"):
            if isinstance(node.value, dict) and node.text(field) == "true":
                yield Hit(node.at(field, key=True), f"expected verification, got {field}: true", field)
    for ingress in _objects(manifest, "Ingress"):
        notes = ("metadata", "annotations")
        protocol = ingress.text(*notes, f"{_INGRESS_NGINX}backend-protocol")
        verify = f"{_INGRESS_NGINX}proxy-ssl-verify"
        if protocol in ("HTTPS", "GRPCS") and ingress.text(*notes, verify) != "on":
            place = ingress.at(*notes, f"{_INGRESS_NGINX}backend-protocol", key=True)
            yield Hit(place, 'expected proxy-ssl-verify: "on" towards the backend, got none', evidence(protocol))


def _ingress_plain(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for ingress in _objects(manifest, "Ingress"):
        if not list(ingress.each("spec", "tls")):
            place = ingress.at("spec", key=True)
            yield Hit(place, "expected tls in the Ingress, got none", evidence(ingress.text("metadata", "name")))
    for gateway in _objects(manifest, "Gateway"):
        for one in gateway.each("spec", "listeners"):
            if one.text("protocol") == "HTTP" and one.text("port") not in ("80", "8080"):
                yield Hit(one.at("protocol"), "expected HTTPS, got HTTP", evidence(one.text("name")))


def _no_redirect(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for ingress in _objects(manifest, "Ingress"):
        name = f"{_INGRESS_NGINX}ssl-redirect"
        if ingress.text("metadata", "annotations", name) == "false":
            place = ingress.at("metadata", "annotations", name, key=True)
            yield Hit(place, 'expected a redirect to https, got ssl-redirect: "false"', name)


def _unmanaged(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    if "cert-manager.io" in manifest.text or "everyhop" in manifest.text:
        return
    for ingress in _objects(manifest, "Ingress"):
        for one in ingress.each("spec", "tls"):
            if one.text("secretName"):
                statement = "expected a sign of what renews this certificate, got a Secret's name only"
                yield Hit(one.at("secretName"), statement, evidence(one.text("secretName")))


def _mesh(manifest: Manifest, guideline: Guideline) -> Iterator[Hit]:
    del guideline
    for policy in _objects(manifest, "PeerAuthentication"):
        mode = policy.text("spec", "mtls", "mode")
        if mode in ("PERMISSIVE", "DISABLE"):
            severity = Severity.HIGH if mode == "DISABLE" else Severity.MEDIUM
            yield Hit(policy.at("spec", "mtls", "mode"), f"expected mTLS mode STRICT, got {mode}", mode, severity)
    for rule in _objects(manifest, "DestinationRule"):
        if rule.text("spec", "trafficPolicy", "tls", "mode") == "DISABLE":
            place = rule.at("spec", "trafficPolicy", "tls", "mode")
            yield Hit(place, "expected TLS towards the destination, got DISABLE", "DISABLE", Severity.HIGH)


def _pod(variable: str) -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers:
    - name: web
      image: shop/web
      env:
        - {variable}
"""


_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations:
    cert-manager.io/cluster-issuer: public
spec:
  tls:
    - {hosts: [shop.example.org], secretName: shop-tls}
"""
_GOOD = _pod("{name: QUEUE, value: 'amqps://queue.shop:5671'}")
_STRICT = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec:\n  mtls:\n    mode: STRICT\n"

RULES: tuple[Rule[Manifest], ...] = (
    Rule(
        "kubernetes-hop-plain",
        Severity.HIGH,
        PLAIN_HOP_SOURCE,
        PLAIN_HOP,
        "use the scheme with TLS (https, rediss, amqps, mqtts, sslmode=verify-full), or a sidecar on loopback",
        bad=_pod("{name: CACHE, value: 'redis://cache.shop:6379'}"),
        good=_GOOD,
        check=_on(plain_settings),
    ),
    Rule(
        "kubernetes-verification-off",
        Severity.HIGH,
        UNVERIFIED_SOURCE,
        UNVERIFIED,
        "take the switch out and give the container the authority's certificate instead",
        bad=_pod("{name: NODE_TLS_REJECT_UNAUTHORIZED, value: '0'}"),
        good=_GOOD,
        check=_verification,
    ),
    Rule(
        "kubernetes-keylog",
        Severity.CRITICAL,
        KEY_LOG_SOURCE,
        KEY_LOG,
        "take the variable out",
        bad=_pod("{name: SSLKEYLOGFILE, value: /tmp/keys.log}"),
        good=_GOOD,
        check=_on(key_logs),
    ),
    Rule(
        "kubernetes-ingress-plain",
        Severity.HIGH,
        "RFC 7258, 2; RFC 9325, 3.2",
        "an Ingress without TLS serves everybody in plaintext",
        "add `spec.tls` with a secret that cert-manager fills",
        bad=_INGRESS.partition("  tls:")[0] + "  rules: []\n",
        good=_INGRESS,
        check=_ingress_plain,
    ),
    Rule(
        "kubernetes-no-redirect",
        Severity.MEDIUM,
        NO_REDIRECT_SOURCE,
        NO_REDIRECT,
        "take the annotation out: with TLS the redirect is the default",
        bad=_INGRESS.replace("spec:", '    nginx.ingress.kubernetes.io/ssl-redirect: "false"\nspec:', 1),
        good=_INGRESS,
        check=_no_redirect,
    ),
    Rule(
        "kubernetes-certificate-unmanaged",
        Severity.LOW,
        UNMANAGED_SOURCE,
        UNMANAGED,
        "let cert-manager renew it: annotate the Ingress with its issuer",
        bad=_INGRESS.replace("cert-manager.io/cluster-issuer: public", "team: shop"),
        good=_INGRESS,
        check=_unmanaged,
    ),
    Rule(
        "kubernetes-mesh-permissive",
        Severity.MEDIUM,
        "NIST SP 800-204A, 4.1; Istio, PeerAuthentication",
        "a mesh that also takes plaintext is as open as one without mTLS to whoever comes without",
        "write `mode: STRICT`, once nobody comes in plaintext any more",
        bad=_STRICT.replace("STRICT", "PERMISSIVE"),
        good=_STRICT,
        check=_mesh,
    ),
)

KUBERNETES: Language[Manifest] = Language("Kubernetes manifest", "deployment.yaml", _reads, parse_manifest, RULES)
