"""Password files, certificates, host names: what cannot be used is named with the way out."""

from pathlib import Path

import pytest

from edgehaul.errors import AuthError, BrokerError
from edgehaul.mqtt import BrokerAddress, Connector, Session, read_password


def test_the_first_line_is_the_password_however_lines_end(tmp_path: Path) -> None:
    file = tmp_path / "my password"
    file.write_bytes("geh€im \r\nsecond line\r\n".encode())
    assert read_password(file, option="--password-file") == "geh€im "
    file.write_bytes(b"")
    assert read_password(file, option="--password-file") == ""
    assert read_password("", option="--password-file") == ""


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_password_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(
        AuthError, match=r"password: the password file .*; correct mqtt\.p"
    ) as caught:
        read_password(file, option="mqtt.password_file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff\xfe"])
def test_unreadable_certificates_are_named_at_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    connector = Connector(BrokerAddress(ca_file=str(file)))
    with pytest.raises(AuthError, match=r"ca\.pem: the certificates to trust cannot be read"):
        connector.check_files()
    with pytest.raises(AuthError, match="PEM"):
        connector.open(Session(client_id="c"))


@pytest.mark.parametrize("host", ["", f"{'a' * 70}.example", "a\0b"])
def test_an_impossible_host_is_a_broker_that_cannot_be_reached(host: str) -> None:
    with pytest.raises(BrokerError, match="cannot reach the MQTT broker"):
        Connector(BrokerAddress(host=host)).open(Session(client_id="c"))
