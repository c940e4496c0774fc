"""Answers to a server that asks who we are: HTTP's Basic and Digest, which RTSP shares."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable

import msgspec

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))')
_HASHES = {"md5": hashlib.md5, "sha-256": hashlib.sha256}


class Credentials(msgspec.Struct, frozen=True):
    """A user name and its password; shown nowhere.

    Attributes:
        username: Empty for none.
        password: Empty for none.
    """

    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Return what may be shown."""
        return "Credentials(...)"


def answer_to(
    challenges: Iterable[str], credentials: Credentials, *, method: str, uri: str
) -> str | None:
    """Return the value of ``Authorization``, by Digest where it is offered, else by Basic.

    Args:
        challenges: Values of ``WWW-Authenticate``.
        credentials: Who we are.
        method: That of the request, such as ``GET`` or ``DESCRIBE``.
        uri: What the request line names.

    Returns:
        None where there is no user name, or nothing that we know is offered.
    """
    if not credentials.username:
        return None
    basic = False
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        if scheme.lower() == "digest":
            answer = _digest(_parameters(rest), credentials, method, uri)
            if answer is not None:
                return answer
        basic = basic or scheme.lower() == "basic"
    return _basic(credentials) if basic else None


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def _parameters(text: str) -> dict[str, str]:
    return {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(text)}


def _digest(offered: dict[str, str], credentials: Credentials, method: str, uri: str) -> str | None:
    """Return the answer of RFC 7616 (with ``qop=auth``) or RFC 2069 (without)."""
    algorithm = offered.get("algorithm", "MD5")
    hasher = _HASHES.get(algorithm.lower())
    qops = {qop.strip() for qop in offered.get("qop", "").split(",")} - {""}
    if hasher is None or "nonce" not in offered or (qops and "auth" not in qops):
        return None

    def hashed(*parts: str) -> str:
        return hasher(":".join(parts).encode()).hexdigest()

    realm, nonce = offered.get("realm", ""), offered["nonce"]
    secret = hashed(credentials.username, realm, credentials.password)
    request = hashed(method, uri)
    fields = {"username": credentials.username, "realm": realm, "nonce": nonce, "uri": uri}
    if qops:
        count, own = "00000001", secrets.token_hex(8)
        response = hashed(secret, nonce, count, own, "auth", request)
        extra = f', qop=auth, nc={count}, cnonce="{own}"'
    else:
        response, extra = hashed(secret, nonce, request), ""
    if "opaque" in offered:
        fields["opaque"] = offered["opaque"]
    listed = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f'Digest {listed}, response="{response}", algorithm={algorithm}{extra}'
