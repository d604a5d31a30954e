"""What a topology file says about being told: objectives, and who hears of alerts in which way.

Rules: no secret stands in the file: a receiver names the file that holds it, or a credential that systemd passes on.
Silences have a reason and an end, as exceptions have.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from everyhop.core import literals as lit
from everyhop.core.section import InNameOrder, Label, Part, Reference

Ratio = Annotated[float, lit.ratio()]
SecretPlace = Annotated[str, lit.text("a file, or credential: and a name")]


class Targets(Part):
    """What an indicator should reach, by the criticality of who is called."""

    critical: Ratio | None = Field(default=None, examples=[0.9999])
    """For critical services. Default: docs/reference/indicators.md has it, with its reason."""
    high: Ratio | None = Field(default=None, examples=[0.999])
    """For those of high criticality. Default: as above."""
    medium: Ratio | None = Field(default=None, examples=[0.999])
    """For those of medium criticality. Default: as above."""
    low: Ratio | None = Field(default=None, examples=[0.99])
    """For those of low criticality. Default: as above."""


class Objectives(Part):
    """Service level objectives that differ from everyhop's own."""

    tls_usage: Targets = Field(default=Targets())
    """M1: connections over TLS, of all that carried data. Default: everyhop's own targets."""
    handshake_success: Targets = Field(default=Targets())
    """M2: handshakes that succeed, of all that should. It has an error budget. Default: everyhop's own targets."""
    mtls_coverage: Targets = Field(default=Targets())
    """M3: connections between services with both ends proved, of all. Default: everyhop's own targets."""
    cipher_strength: Targets = Field(default=Targets())
    """M5: handshakes with strong version, suite and group, of all. Default: everyhop's own targets."""

    @property
    def by_indicator(self) -> Mapping[str, Targets]:
        """The targets by the indicator's code."""
        return {
            "M1": self.tls_usage,
            "M2": self.handshake_success,
            "M3": self.mtls_coverage,
            "M5": self.cipher_strength,
        }


class Webhook(Part):
    """A receiver that takes alerts as JSON by POST."""

    url: Annotated[str, lit.URL] = Field(examples=["https://hooks.example/everyhop"])
    """Where to post: https, verified; http only to this machine."""
    secret: SecretPlace | None = Field(default=None, examples=["/etc/everyhop/webhook.secret", "credential:webhook"])
    """The file with the secret that signs each message (HMAC-SHA256, header Everyhop-Signature), or `credential:` and
    the name of a systemd credential. Default: not signed."""
    authorities: Annotated[str, lit.text("a file")] | None = Field(default=None, examples=["/etc/ssl/private-ca.pem"])
    """The roots (PEM) that the receiver's certificate is verified against. Default: those of the system."""


class Smtp(Part):
    """A mail server that takes alerts as mail."""

    server: Annotated[str, lit.HOST_PORT] = Field(examples=["mail.example:587"])
    """The server's name and port."""
    security: Literal["starttls", "tls"] = Field(default="starttls", examples=["starttls"])
    """starttls: upgrade, and refuse to go on without; tls: TLS from the first byte. Default: starttls, for port 587."""
    sender: Annotated[str, lit.EMAIL] = Field(examples=["everyhop@shop.example"])
    """The address that mail comes from."""
    to: Annotated[str, lit.EMAIL] = Field(examples=["oncall@shop.example"])
    """Whom to write to when the owner's contact is no mail address."""
    user: Annotated[str, lit.text("a user name")] | None = Field(default=None, examples=["everyhop"])
    """The name to log in with. Default: no login."""
    password: SecretPlace | None = Field(default=None, examples=["/etc/everyhop/smtp.password", "credential:smtp"])
    """The file with the password, or `credential:` and the name of a systemd credential. Default: no login."""
    authorities: Annotated[str, lit.text("a file")] | None = Field(default=None, examples=["/etc/ssl/private-ca.pem"])
    """The roots (PEM) that the server's certificate is verified against. Default: those of the system."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.user is None) != (self.password is None):
            given = "a password alone" if self.user is None else "a user alone"
            raise lit.misfit("user and password, or neither", "a login needs both", got=given)
        return self


class Receiver(Part):
    """Where notices go: exactly one of `webhook` and `smtp`."""

    webhook: Webhook | None = Field(default=None)
    """Post them as JSON. Default: nothing is posted."""
    smtp: Smtp | None = Field(default=None)
    """Send them as mail to the owner's contact. Default: no mail."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.webhook is None) == (self.smtp is None):
            given = "neither" if self.smtp is None else "both"
            raise lit.misfit("either webhook: or smtp:", "keep one of the two", got=given)
        return self


class Quiet(Part):
    """An alert that nobody is told of for a while: it is still evaluated and shown."""

    alert: Reference = Field(examples=["HopNotSeen"])
    """The alert's name."""
    about: Annotated[str, lit.text("a subject")] | None = Field(default=None, examples=["web -> api"])
    """What it is about: a hop, a certificate, an endpoint. Default: whatever it is about."""
    reason: Annotated[str, lit.text()] = Field(examples=["api moves to another machine"])
    """Why."""
    until: Annotated[date, lit.DATE] = Field(examples=["2027-03-01"])
    """The last day it holds. After it the file is refused, so that no silence is forgotten."""


def _nobody() -> Mapping[str, Receiver]:
    return MappingProxyType({})


class Notify(Part):
    """Who hears of alerts, and how. Without it they are shown by `status` and on the dashboard only."""

    receivers: Annotated[Mapping[Label, Receiver], InNameOrder] = Field(
        default_factory=_nobody, examples=[{"oncall": {"webhook": {"url": "https://hooks.example/everyhop"}}}]
    )
    """Receivers, by name. Default: none."""
    page: tuple[Reference, ...] = Field(default=(), examples=[["oncall"]])
    """Receivers of what somebody must be woken for, unless the owner names others. Default: none."""
    ticket: tuple[Reference, ...] = Field(default=(), examples=[["mail"]])
    """Receivers of what can wait for tomorrow, unless the owner names others. Default: none."""
    silences: tuple[Quiet, ...] = Field(default=())
    """Alerts that nobody is told of for a while. Default: none."""
