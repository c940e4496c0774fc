"""Addresses of network cameras, and how they may be shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_FIRST_PRINTABLE = "!"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_LONGEST_TEXT = 300


def require_url(url: str, *, schemes: tuple[str, ...]) -> None:
    """Refuse what is no address with one of these schemes, or holds a name or password.

    Configurations are copied, shown and kept in version control; a password belongs in a file of
    its own. No message repeats the address: it may hold the password.

    Raises:
        ValueError: It is refused.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in schemes or not parts.hostname:
        forms = " or ".join(f"{scheme}://host/path" for scheme in schemes)
        raise ValueError(f"this is no url of the form {forms}")
    if parts.username is not None:
        raise ValueError("a url holds no name or password here; give username and password_file")


def shown_url(url: str) -> str:
    """Return an address for logs and errors: without name, password, query and fragment.

    Cheap cameras take the password as a part of the query.
    """
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "(no address)"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def shown_text(text: str) -> str:
    """Return a fault as it may be sent: its addresses as `shown_url` shows them, and not too long.

    What libraries say of an address repeats it whole, with all that it holds.
    """
    shown = _ADDRESS.sub(lambda found: shown_url(found[0]), text)
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"


def _split(url: str) -> SplitResult | None:
    if any(character < _FIRST_PRINTABLE or character == "\x7f" for character in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # is looked at only when asked for
    except ValueError:
        return None
    return parts
