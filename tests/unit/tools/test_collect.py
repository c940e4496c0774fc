"""What ``edgehaul collect`` leaves behind where there is nothing to collect from."""

from pathlib import Path

import pytest

from edgehaul.errors import BrokerError
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul_tools.cli import main
from tests.brokers import free_port


@pytest.mark.parametrize("form", ["--sqlite", "--jsonl"])
def test_no_empty_store_is_left_where_no_broker_answers(form: str, tmp_path: Path) -> None:
    store = tmp_path / "results"
    assert main(["collect", "--port", str(free_port()), form, str(store)]) == BrokerError.exit_code
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_store_is_kept(tmp_path: Path) -> None:
    store = tmp_path / "results.db"
    SqliteSink(store).close()
    content = store.read_bytes()
    main(["collect", "--port", str(free_port()), "--sqlite", str(store)])
    assert store.read_bytes() == content
