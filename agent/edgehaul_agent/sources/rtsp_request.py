"""Asks an RTSP camera what FFmpeg in OpenCV does not tell.

Before it is opened, whether it answers at all: OpenCV opens one video at a time in a process, so
while it waits for a camera that does not answer no other can be opened. That is asked by OPTIONS,
which costs the camera nothing: servers that begin to make the stream on DESCRIBE, and end it when
we leave, are caught in between by the one that follows. After a failure, why: by DESCRIBE.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit, urlunsplit

from edgehaul.errors import AuthError, EdgeHaulError, SourceError
from edgehaul_agent.sources.challenge import Credentials, answer_to

_PORT = 554
_STATUS = re.compile(rb"RTSP/\d\.\d (\d{3})")
_CHALLENGE = re.compile(rb"^www-authenticate:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,6})\s*$", re.IGNORECASE | re.MULTILINE)
_HEAD_END = b"\r\n\r\n"
_PIECE_BYTES = 4096
_MOST_PIECES = 32
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


def require_answer(url: str, *, where: str, timeout_s: float) -> None:
    """See that the camera answers; by ``rtsps`` nothing is asked.

    Args:
        url: Its address, without name and password.
        where: The camera as errors may show it.
        timeout_s: Longest wait for each answer.

    Raises:
        SourceError: It cannot be reached, or speaks no RTSP.
    """
    if urlsplit(url).scheme != "rtsp":
        return
    try:
        with _connected(url, timeout_s) as link:
            status, _ = _ask(link, "OPTIONS", _uri(url), sequence=1)
    except OSError as error:
        raise _unreachable(error, where) from error
    if not status:
        raise SourceError("this is no RTSP camera", where=where, remedy="correct the url")


def reason_of(
    url: str, credentials: Credentials, *, where: str, timeout_s: float
) -> EdgeHaulError | None:
    """Return why the camera cannot be opened; none where it would describe its stream.

    Args:
        url: Its address, without name and password.
        credentials: Name and password.
        where: The camera as errors may show it.
        timeout_s: Longest wait for each answer.
    """
    if urlsplit(url).scheme != "rtsp":
        return None
    uri = _uri(url)
    try:
        with _connected(url, timeout_s) as link:
            status, head = _ask(link, "DESCRIBE", uri, sequence=1)
            answer = None
            if status == _UNAUTHORIZED:
                offers = [offer.decode("latin-1") for offer in _CHALLENGE.findall(head)]
                answer = answer_to(offers, credentials, method="DESCRIBE", uri=uri)
            if answer is not None:
                status, _ = _ask(link, "DESCRIBE", uri, sequence=2, authorization=answer)
    except OSError as error:
        return _unreachable(error, where)
    return None if status == _OK else _refusal(status, credentials, where)


def _connected(url: str, timeout_s: float) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or _PORT), timeout_s)


def _uri(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))


def _unreachable(error: OSError, where: str) -> SourceError:
    if isinstance(error, socket.gaierror):
        return SourceError("no such host", where=where, remedy="correct the url of the source")
    if isinstance(error, TimeoutError):
        return SourceError("the camera does not answer", where=where, remedy="check its network")
    return SourceError(
        f"the camera cannot be reached: {(error.strerror or str(error)).lower()}",
        where=where,
        remedy="check that it is on and that the port is right",
    )


def _refusal(status: int, credentials: Credentials, where: str) -> EdgeHaulError:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        fault = (
            "the camera refuses this name or password"
            if credentials.username
            else "the camera asks for a name and a password"
        )
        return AuthError(fault, where=where, remedy="correct username and password_file")
    if status == _NOT_FOUND:
        return SourceError(
            "the camera has no such stream", where=where, remedy="correct the path of the url"
        )
    return SourceError(f"the camera answers with status {status}", where=where)


def _ask(
    link: socket.socket, method: str, uri: str, *, sequence: int, authorization: str = ""
) -> tuple[int, bytes]:
    """Return status (0: no RTSP) and head of the answer to a request."""
    lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {sequence}", "Accept: application/sdp"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    for _ in range(_MOST_PIECES):
        if _is_whole(answer):
            break
        piece = link.recv(_PIECE_BYTES)
        if not piece:
            break
        answer += piece
    head = answer.partition(_HEAD_END)[0]
    status = _STATUS.match(head)
    return (int(status[1]) if status else 0), head


def _is_whole(answer: bytes) -> bool:
    """Return whether head and body are there: what is left of one answer spoils the next."""
    head, end, body = answer.partition(_HEAD_END)
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)
