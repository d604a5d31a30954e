"""Two trust domains on one machine, prod and staging: they share nothing and refuse each other."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from OpenSSL import SSL, crypto
from tests.stories.client import callers, handshake, request
from tests.stories.harness import until
from tests.stories.minting import mint
from tests.stories.small import HOST, Small

from everyhop import app
from everyhop.core.certificate import assemble, public_key_bytes, signature_algorithm
from everyhop.core.chain import pem
from everyhop.ports import ClientCredential
from everyhop.services.explain import explain

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def prod() -> Iterator[Small]:
    with Small(domain="prod.example") as mesh:
        yield mesh.up()


@pytest.fixture(scope="module")
def staging(prod: Small) -> Iterator[Small]:
    with Small(domain="staging.example") as mesh:
        mesh.up().ready()
        prod.ready()
        yield mesh


def test_both_work_side_by_side(prod: Small, staging: Small) -> None:
    """One machine, one user, two data directories: both answer, and each ends only what is its own."""
    for mesh, domain in ((prod, "prod.example"), (staging, "staging.example")):
        headers = mesh.get("/hello").json["headers"]
        assert callers(headers) == [f"spiffe://{domain}/test/edge"]
    assert not set(prod.processes().values()) & set(staging.processes().values())


def test_they_share_no_key_and_no_certificate(prod: Small, staging: Small) -> None:
    """No public key, serial, key file or seal of the one is found in the other."""
    keys: list[set[bytes]] = []
    files: list[set[bytes]] = []
    for mesh in (prod, staging):
        certificates = [x509.load_der_x509_certificate(line.certificate or b"") for line in mesh.journal()]
        assert certificates
        keys.append({public_key_bytes(one) for one in certificates})
        files.append({path.read_bytes() for path in [*(mesh.data / "keys").glob("*.key"), mesh.seal]})
    assert not keys[0] & keys[1]
    assert not files[0] & files[1]
    assert prod.roots != staging.roots


def test_each_refuses_the_other_as_caller(prod: Small, staging: Small) -> None:
    """web of the one knocks at api of the other: a valid certificate, of a foreign authority."""
    for mesh, other in ((prod, staging), (staging, prod)):
        stolen = mint(other, "web")
        assert handshake(other.mesh_address("api"), credential=stolen).usable
        assert not handshake(mesh.mesh_address("api"), credential=stolen).usable
        until(lambda m=mesh, o=other: refusals(m).get(identity(o, "web")) == "foreign-authority", "the refusal")


def refusals(mesh: Small) -> dict[str, str]:
    """Codes by who was refused at api."""
    found = mesh.ask(lambda store: explain(store, str(mesh.data), caller="", callee="api"))
    return {one.who: one.code for one in found.refused}


def identity(mesh: Small, service: str) -> str:
    return f"spiffe://{mesh.status().trust_domain}/test/{service}"


def test_clients_of_the_one_do_not_trust_the_other(prod: Small, staging: Small) -> None:
    """A browser that trusts prod's root gets a page from prod, and an error from staging."""
    assert request(prod.https, HOST, "/hello", roots=prod.roots).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        request(staging.https, HOST, "/hello", roots=prod.roots)


@contextmanager
def impostor(mesh: Small, service: str, credential: ClientCredential) -> Generator[list[str]]:
    """Somebody stands at a service's mTLS address, in place of its proxy, and shows this credential.

    The proxy is killed, and the port taken before it is there again. Gives the list of what became of connections.
    """
    address, heard, over = mesh.mesh_address(service), list[str](), threading.Event()
    context = _server(credential)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mesh.kill_process(f"envoy-{service}")
    until(lambda: _bound(listener, (address.host, address.port)), "the port to be free")
    listener.listen()
    listener.settimeout(0.2)

    def serve() -> None:
        while not over.is_set():
            try:
                raw, _ = listener.accept()
            except TimeoutError:
                continue
            raw.settimeout(5)
            with raw:
                heard.append(_outcome(context, raw))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join(10)
        listener.close()


def _bound(listener: socket.socket, place: tuple[str, int]) -> bool:
    with suppress(OSError):
        listener.bind(place)
        return True
    return False


def _server(credential: ClientCredential) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    leaf, *issuers = x509.load_pem_x509_certificates(credential.chain)
    context.use_certificate(leaf)
    for issuer in issuers:
        context.add_extra_chain_cert(issuer)
    key = load_pem_private_key(credential.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    context.set_options(SSL.OP_NO_TICKET)
    return context


def _outcome(context: SSL.Context, raw: socket.socket) -> str:
    raw.settimeout(None)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\5".ljust(16, b"\0"))
    connection = SSL.Connection(context, raw)
    connection.set_accept_state()
    try:
        connection.do_handshake()
        return f"received {len(connection.recv(4096))} bytes"
    except SSL.ZeroReturnError:
        return "closed"
    except SSL.Error as error:
        return f"refused {error}"


@pytest.mark.parametrize("whose", ["the other domain's api", "our own web"])
def test_an_impostor_at_a_services_port_gets_no_word(prod: Small, staging: Small, whose: str) -> None:
    """Somebody took api's port and shows a certificate: of the other domain, or of another service of this one.

    web's proxy refuses to talk to it. The request fails, and nothing of it reached the impostor. When the impostor is
    gone, api's proxy takes its port again, and all is well.
    """
    shown = mint(prod, "api") if whose == "the other domain's api" else mint(staging, "web")
    with impostor(staging, "api", shown) as heard:
        assert staging.get("/ask/secret").status == 502
        until(lambda: heard, "the impostor to be met")
        assert all(one.startswith("refused") for one in heard), heard
        until(lambda: "api: inbound: " in staging.status().fault, "everyhop to say that the port is taken")
    until(lambda: staging.get().status == 200, "api to be back")


def signed_beside_the_gate(mesh: Small, uri: str, dns: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate that the gate would never sign: made with the intermediate's key itself."""
    found = mesh.status()
    signer = next(one for one in found.authorities if found.trust and one.name == found.trust.signer)
    key = ec.generate_private_key(ec.SECP256R1())
    draft = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.x509.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(app.now() - timedelta(minutes=1))
        .not_valid_after(app.now() + timedelta(minutes=10))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(dns)]), critical=True
        )
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )

    async def signature() -> bytes:
        async with mesh.workspace.store() as store:
            keys = await mesh.workspace.keys(await app.instance_of(store))
            return await keys.sign(signer.key_id, draft.tbs_certificate_bytes)

    der = assemble(draft.tbs_certificate_bytes, signature_algorithm(draft), asyncio.run(signature()))
    return x509.load_der_x509_certificate(der), key


@pytest.mark.parametrize(
    ("uri", "dns", "inside"),
    [
        ("spiffe://prod.example/test/web", "web.prod.example", True),
        ("spiffe://staging.example/test/web", "web.prod.example", False),
        ("spiffe://prod.example/test/web", "bank.example", False),
    ],
)
def test_name_constraints_hold_even_with_the_stolen_key(prod: Small, uri: str, dns: str, inside: bool) -> None:
    """Somebody has stolen prod's intermediate key and signs whatever they like.

    OpenSSL and Envoy believe it for names of prod, and for nothing else: the constraint stands in the authority.
    """
    leaf, key = signed_beside_the_gate(prod, uri, dns)
    found = {one.name: one.x509 for one in prod.status().authorities}
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(found["root-1"]))
    intermediate = crypto.X509.from_cryptography(found["intermediate-1"])
    checking = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), [intermediate])
    shown = ClientCredential(
        (pem(leaf.public_bytes(Encoding.DER)) + pem(found["intermediate-1"].public_bytes(Encoding.DER))).encode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    assert handshake(prod.mesh_address("api"), credential=shown).usable == inside
    if inside:
        checking.verify_certificate()
        return
    with pytest.raises(crypto.X509StoreContextError, match="permitted subtree violation"):
        checking.verify_certificate()
    until(lambda: refusals(prod).get(uri) == "foreign-authority", "the refusal to be explained")
