"""Every kind of file that can be looked at, and every rule by its code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from everyhop.core.lint.apache import APACHE
from everyhop.core.lint.compose import COMPOSE
from everyhop.core.lint.envoy import ENVOY
from everyhop.core.lint.haproxy import HAPROXY
from everyhop.core.lint.kubernetes import KUBERNETES
from everyhop.core.lint.nginx import NGINX
from everyhop.core.lint.python import PYTHON
from everyhop.core.lint.rule import File, Language, Rule
from everyhop.core.lint.secrets import SECRETS
from everyhop.core.lint.source import GO, JAVA, JAVASCRIPT, SHELL

LANGUAGES: tuple[Language[Any], ...] = (
    *(NGINX, HAPROXY, APACHE, ENVOY, COMPOSE, KUBERNETES),
    *(PYTHON, GO, JAVASCRIPT, JAVA, SHELL),
)
"""The first one that reads a file is its kind. :data:`SECRETS` is asked of every file beside it."""

RULES: Mapping[str, Rule[Any]] = MappingProxyType(
    {rule.code: rule for language in (*LANGUAGES, SECRETS) for rule in language.rules}
)


def language_of(file: File) -> Language[Any] | None:
    """The kind of a file, or None: only secrets are looked for in it."""
    return next((language for language in LANGUAGES if language.reads(file)), None)
