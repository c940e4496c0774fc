"""Asks an RTSP camera for its stream before FFmpeg does.

FFmpeg in OpenCV does not say why a camera cannot be opened, and while it waits for one that does
not answer, no other can be opened in the same process: OpenCV opens one at a time.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit, urlunsplit

from edgehaul.errors import AuthError, EdgeHaulError, SourceError
from edgehaul_agent.sources.challenge import Credentials, answer_to

_PORTS = {"rtsp": 554, "rtsps": 322}
_STATUS = re.compile(rb"RTSP/\d\.\d (\d{3})")
_CHALLENGE = re.compile(rb"^www-authenticate:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,6})\s*$", re.IGNORECASE | re.MULTILINE)
_HEAD_END = b"\r\n\r\n"
_PIECE_BYTES = 4096
_MOST_PIECES = 32
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


def require_stream(url: str, credentials: Credentials, *, where: str, timeout_s: float) -> None:
    """Ask the camera to describe its stream; by ``rtsps`` nothing is asked.

    Args:
        url: Its address, without name and password.
        credentials: Name and password.
        where: The camera as errors may show it.
        timeout_s: Longest wait for each answer.

    Raises:
        AuthError: The camera refuses name or password.
        SourceError: It cannot be reached, or has no such stream.
    """
    parts = urlsplit(url)
    if parts.scheme != "rtsp":
        return
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    uri = urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))
    try:
        with socket.create_connection(address, timeout_s) as link:
            status, head = _describe(link, uri, sequence=1)
            answer = None
            if status == _UNAUTHORIZED:
                offers = [offer.decode("latin-1") for offer in _CHALLENGE.findall(head)]
                answer = answer_to(offers, credentials, method="DESCRIBE", uri=uri)
            if answer is not None:
                status, _ = _describe(link, uri, sequence=2, authorization=answer)
    except OSError as error:
        raise _unreachable(error, where) from error
    if status != _OK:
        raise _refusal(status, credentials, where)


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
    if not status:
        return SourceError("this is no RTSP camera", where=where, remedy="correct the url")
    return SourceError(f"the camera answers with status {status}", where=where)


def _describe(
    link: socket.socket, uri: str, *, sequence: int, authorization: str = ""
) -> tuple[int, bytes]:
    """Ask what the stream is; return status (0: no RTSP) and head of the answer."""
    lines = [f"DESCRIBE {uri} RTSP/1.0", f"CSeq: {sequence}", "Accept: application/sdp"]
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
