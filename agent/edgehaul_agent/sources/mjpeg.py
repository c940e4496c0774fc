"""Network cameras that send JPEG pictures over HTTP."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urljoin, urlsplit, urlunsplit

from edgehaul.clock import Clock
from edgehaul.config.addresses import shown_url
from edgehaul.config.cameras import MjpegSource
from edgehaul.errors import AuthError, SourceError
from edgehaul.values import Image
from edgehaul_agent.sources.challenge import Credentials, answer_to
from edgehaul_agent.sources.jpeg import JpegDecoder
from edgehaul_agent.sources.multipart import PartReader, boundary_of

_MIB = 1 << 20
_OK, _REDIRECT, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 300, 401, 403, 404
_FAILED = 400


class MjpegLink:
    """A link to a camera that sends JPEG pictures over HTTP.

    Redirects are not followed: name and password are for the host of the configuration alone.

    Args:
        config: The camera, its files' paths absolute.
        credentials: Name and password; they are sent when the camera asks for them.
        clock: Tells how long a picture takes.
        decoder: Makes pictures of JPEG files; it is closed with the link.

    Raises:
        AuthError: The camera refuses name or password.
        SourceError: It cannot be reached, or sends no such stream.
    """

    def __init__(
        self,
        config: MjpegSource,
        credentials: Credentials,
        clock: Clock,
        decoder: JpegDecoder,
    ) -> None:
        self._config = config
        self._where = shown_url(config.url)
        self._clock = clock
        self._decoder = decoder
        self._content = b""
        self._deadline_s = clock.monotonic_s() + config.open_timeout_s
        self._http = _connection(config)
        self._answer: http.client.HTTPResponse | None = None
        try:
            answer = self._ask(credentials)
            self._check(answer, credentials)
            boundary = boundary_of(answer.headers.get("Content-Type", ""), where=self._where)
            self._socket.settimeout(config.read_timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        except (AuthError, SourceError):
            self.close()
            raise
        most_bytes = int(config.max_picture_mb * _MIB)
        self._parts = PartReader(self._read, boundary, most_bytes=most_bytes, where=self._where)

    def grab(self) -> None:
        """Wait for the next picture; HTTP gives it no timestamp.

        Raises:
            SourceError: None came in time, the stream has ended, or it breaks the limits.
        """
        self._deadline_s = self._clock.monotonic_s() + self._config.read_timeout_s
        try:
            self._content = self._parts.next_part()
        except TimeoutError as error:
            raise self._silent() from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError(f"the connection broke: {error}", where=self._where) from error

    def retrieve(self) -> Image | None:
        """Return the picture; none where it cannot be decoded.

        Raises:
            SourceError: The decoder is gone.
        """
        return self._decoder.decode(self._content)

    def close(self) -> None:
        """Close the connection, and the decoder."""
        self._decoder.close()
        self._disconnect()

    def _disconnect(self) -> None:
        # The answer keeps the socket of a connection that ends with it.
        if self._answer is not None:
            self._answer.close()
        self._http.close()

    def _ask(self, credentials: Credentials) -> http.client.HTTPResponse:
        parts = urlsplit(self._config.url)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        answer = self._get(target, None)
        if answer.status == _UNAUTHORIZED:
            offers = answer.headers.get_all("WWW-Authenticate") or []
            authorization = answer_to(offers, credentials, method="GET", uri=target)
            if authorization is not None:
                self._disconnect()  # what the refusal says besides is not read
                answer = self._get(target, authorization)
        return answer

    def _get(self, target: str, authorization: str | None) -> http.client.HTTPResponse:
        headers = {"User-Agent": "edgehaul-agent", "Accept": "multipart/x-mixed-replace"}
        if authorization is not None:
            headers["Authorization"] = authorization
        self._http.connect()
        self._socket: socket.socket = self._http.sock
        self._http.request("GET", target, headers=headers)
        self._answer = self._http.getresponse()
        return self._answer

    def _check(self, answer: http.client.HTTPResponse, credentials: Credentials) -> None:
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            fault = "refuses this" if credentials.username else "asks for a"
            raise AuthError(
                f"the camera {fault} name or password",
                where=self._where,
                remedy="correct username and password_file",
            )
        if _REDIRECT <= answer.status < _FAILED:
            target = urljoin(self._config.url, answer.headers.get("Location", ""))
            raise SourceError(
                f"the camera redirects to {shown_url(target)}, which is not followed",
                where=self._where,
                remedy="give that url, if it is the camera's",
            )
        if answer.status != _OK:
            what = "has no such stream" if answer.status == _NOT_FOUND else "fails"
            raise SourceError(
                f"the camera {what} (HTTP status {answer.status})",
                where=self._where,
                remedy="correct the url of the source",
            )

    def _read(self, most_bytes: int) -> bytes:
        # Also a camera that sends a byte now and then must finish its picture in time.
        if self._clock.monotonic_s() > self._deadline_s:
            raise self._silent()
        return b"" if self._answer is None else self._answer.read1(most_bytes)

    def _silent(self) -> SourceError:
        return SourceError(f"no frame for {self._config.read_timeout_s:.1f} s", where=self._where)

    def _unreachable(self, error: OSError | http.client.HTTPException) -> SourceError:
        if isinstance(error, TimeoutError):
            reason = "it does not answer"
        else:
            reason = (getattr(error, "strerror", None) or str(error) or "no HTTP").lower()
        return SourceError(
            f"the camera cannot be reached: {reason}",
            where=self._where,
            remedy="check that it is on and that the url is right",
        )


def _connection(config: MjpegSource) -> http.client.HTTPConnection:
    parts = urlsplit(config.url)
    host, timeout_s = parts.hostname or "", config.open_timeout_s
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except OSError as error:
        raise SourceError(
            "these certificates cannot be read", where=config.ca_file, remedy="correct ca_file"
        ) from error
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
