"""Why an RTSP camera could not be opened: FFmpeg in OpenCV does not say, so the camera is asked."""

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
_MOST_WAIT_S = 2.0


def reason_of(url: str, credentials: Credentials, *, where: str, timeout_s: float) -> EdgeHaulError:
    """Return the error that says best why the camera cannot be opened.

    Args:
        url: Its address, without name and password.
        credentials: Name and password.
        where: The camera as errors may show it.
        timeout_s: Longest wait for each answer, at most 2 s.
    """
    parts = urlsplit(url)
    if parts.scheme != "rtsp":
        return _unknown(where)
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    uri = urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))
    try:
        with socket.create_connection(address, min(timeout_s, _MOST_WAIT_S)) as link:
            status, head = _describe(link, uri, sequence=1)
            answer = None
            if status == _UNAUTHORIZED:
                offers = [offer.decode("latin-1") for offer in _CHALLENGE.findall(head)]
                answer = answer_to(offers, credentials, method="DESCRIBE", uri=uri)
            if answer is not None:
                status, _ = _describe(link, uri, sequence=2, authorization=answer)
    except socket.gaierror:
        return SourceError("no such host", where=where, remedy="correct the url of the source")
    except TimeoutError:
        return SourceError("the camera does not answer", where=where, remedy="check its network")
    except OSError as error:
        return SourceError(
            f"the camera cannot be reached: {(error.strerror or str(error)).lower()}",
            where=where,
            remedy="check that it is on and that the port is right",
        )
    return _reason(status, credentials, where)


def _reason(status: int, credentials: Credentials, where: str) -> EdgeHaulError:
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
    if status and status != _OK:
        return SourceError(f"the camera answers with status {status}", where=where)
    return _unknown(where)


def _unknown(where: str) -> SourceError:
    return SourceError(
        "the camera sends no video that can be opened",
        where=where,
        remedy="check what it sends with another player; transport and open_timeout_s matter too",
    )


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
