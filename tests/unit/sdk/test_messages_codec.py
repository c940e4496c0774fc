"""Messages from anyone: what is none of ours is refused, never a crash."""

import msgspec
import pytest

from edgehaul.errors import MessageError
from edgehaul.messages.codec import decode, encode, uncounted
from edgehaul.messages.payloads import AckData, GapData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.subscriber.client import ReceivedMessage

ACK = encode(
    uncounted(AckData(epoch="e", sequence=3), topics=DeviceTopics("s", "d"), captured_at_s=0.0)
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"\xff\xfe",
        ACK.replace(b'"e"', b'"\xff"'),
        ACK[:-1] + b',"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ACK.replace(b'"sequence":3', b'"sequence":' + b"9" * 25),
        ACK.replace(b'"sequence":3', b'"sequence":-1'),
    ],
    ids=["empty", "null", "no UTF-8", "no UTF-8 inside", "deep", "huge number", "negative number"],
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(MessageError, match="t: not an EdgeHaul message"):
        decode(content, where="t")


def test_numbers_fit_a_database() -> None:
    largest = GapData(first_sequence=0, last_sequence=2**63 - 1, lane="event", reason="quota")
    message = encode(uncounted(largest, topics=DeviceTopics("s", "d"), captured_at_s=0.0))
    assert decode(message).data == largest


def test_a_message_laid_out_over_lines_is_one_line_of_a_file() -> None:
    laid_out = msgspec.json.format(ACK, indent=2)
    received = ReceivedMessage("t", decode(laid_out), laid_out, retained=False)
    line = received.as_json_line()
    assert b"\n" not in line
    assert msgspec.json.decode(line) == {"topic": "t", "message": msgspec.json.decode(ACK)}
