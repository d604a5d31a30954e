"""What to do about a finding, in one or two sentences.

Rules: one remedy for each rule about endpoints, no more and no fewer (a test says so). It names what to change, in
words that hold for any server; how a certain server spells it stands in that server's manual.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "scan-failed": "report what is told as seen, with the version of everyhop; until then look by other means",
        "plaintext-served": "put TLS in front of the port, or bind it to loopback; then refuse plaintext",
        "tls-optional": "make the server refuse whoever does not upgrade (hostssl, require_secure_transport, smtpd_tls_"
        "security_level=encrypt...), once no client needs plaintext any more",
        "tls-version-old": "set the lowest protocol version to TLS 1.2, or to TLS 1.3 where every client speaks it",
        "tls-version-missing": "enable the version; it may need a newer TLS library",
        "tls-suite-forbidden": "set the list of cipher suites to the guideline's; `everyhop profiles NAME` prints it",
        "tls-group-forbidden": "set the list of groups (curves) to the guideline's; `everyhop profiles NAME` prints it",
        "tls-dh-small": "drop DHE suites, which no modern client needs, or use ffdhe2048 or larger",
        "tls-group-post-quantum": "add X25519MLKEM768 as the first group; OpenSSL 3.5, Go 1.24 and BoringSSL have it",
        "tls-server-order": "switch the server's preference of cipher suites as the guideline says",
        "certificate-unreadable": "look at the file that is served: it must hold the leaf in PEM, then its issuers",
        "certificate-expired": "renew it now, then find out why nobody did: renewal belongs to a machine",
        "certificate-not-yet-valid": "compare the clocks of issuer, server and this machine; reissue if they agree",
        "certificate-nearly-spent": "renew it, and look why the automatic renewal has not",
        "certificate-lifetime-long": "issue for a shorter time and renew by machine",
        "certificate-name-mismatch": "issue one with this name as an alternative name, or ask for the name it has",
        "certificate-identity-mismatch": "issue one with the right SPIFFE ID, and look who else holds this one",
        "certificate-self-signed": "issue it from an authority that clients trust, the own one for internal services",
        "chain-untrusted": "have it issued by a trusted authority, or name its root with --ca-file if you trust it",
        "chain-incomplete": "serve the intermediate certificates behind the leaf (the full chain file)",
        "chain-disordered": "order the file: the leaf, then each issuer in turn, and nothing else",
        "chain-root-sent": "leave the root out of the file that is served",
        "chain-invalid": "reissue what breaks the path; the evidence says which certificate and which clause",
        "certificate-key-weak": "make a new key (P-256, or RSA with 2048 bits at least), and a certificate for it",
        "certificate-signature-weak": "have the certificate reissued with SHA-256 or better",
        "certificate-key-not-permitted": "make a new key of a permitted kind at the next renewal",
        "certificate-revoked": "replace key and certificate now, and find out what happened to the old key",
        "revocation-stale": "look why the authority's CRL or responder is not renewed",
        "staple-missing": "switch OCSP stapling on, or have the certificate reissued without must-staple",
        "staple-invalid": "have the server fetch a fresh staple, and compare it with the leaf it serves",
        "staple-stale": "look why the server cannot fetch a new staple (its resolver, its way out, the responder)",
        "timestamps-missing": "have the certificate reissued by an authority that logs it before issuing",
        "timestamps-invalid": "have the certificate reissued, and ask its authority where the timestamp is from",
        "client-certificate-optional": "make the server require a client certificate, not merely ask for one",
        "client-authority-unchecked": "name the one authority whose client certificates are let in",
        "client-expiry-unchecked": "have the server verify client certificates in full, dates and all",
        "client-identity-unchecked": "let in named identities only (SAN or SPIFFE ID), not everybody of the authority",
        "client-revocation-unchecked": "give the server a CRL that is renewed, or use client certificates of hours",
        "client-certificate-refused": "compare the certificate with what the server lets in: authority, name, dates",
        "session-early-data": "switch early data (0-RTT) off, unless every request may safely come twice",
        "session-ticket-life-long": "shorten the life of tickets, at most to that of client certificates",
        "session-renegotiation-insecure": "update the TLS library: every one since 2010 knows RFC 5746",
        "session-renegotiation-by-client": "refuse renegotiation that a client starts, or allow TLS 1.3 only",
        "session-compression": "switch TLS compression off",
        "session-fallback-unprotected": "update the TLS library, or allow only one protocol version",
        "hsts-missing": "send Strict-Transport-Security with max-age on every answer over TLS, also on errors",
        "hsts-short": "raise max-age to what the guideline asks, in steps if the site is new to TLS",
        "hsts-preload": "add what the list asks for, or take preload out of the header until it holds",
        "http-no-redirect": "answer every request on the plaintext port with 301 or 308 to https, or close the port",
        "cookie-not-secure": "set Secure on every cookie; the __Secure- prefix keeps it so",
        "mixed-content": "load everything by https; upgrade-insecure-requests helps on the way",
    }
)
"""By the code of the rule."""
