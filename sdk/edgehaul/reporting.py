"""How both command lines tell an error: one line for people, one object for programs."""

from __future__ import annotations

import errno
import json
import sys

from edgehaul.errors import ConfigError, EdgeHaulError

_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def report_error(error: EdgeHaulError, *, program: str, as_json: bool) -> int:
    """Print an error on standard error and return its exit code.

    Args:
        error: What went wrong.
        program: Name at the beginning of each line.
        as_json: Whether to print one JSON object instead of lines.
    """
    if as_json:
        content: dict[str, object] = {
            "type": type(error).__name__,
            "message": error.message,
            "where": error.where,
            "remedy": error.remedy,
            "exit_code": error.exit_code,
        }
        if isinstance(error, ConfigError):
            content["faults"] = error.faults
        lines = [json.dumps({"error": content})]
    else:
        lines = [f"{program}: error: {line}" for line in str(error).splitlines()]
    sys.stderr.writelines(f"{line}\n" for line in lines)
    return error.exit_code


def system_error(error: OSError) -> EdgeHaulError:
    """Return what the operating system refused as an error of ours."""
    return EdgeHaulError(
        (error.strerror or str(error)).lower(),
        where=error.filename or "",
        remedy="check the path, its permissions and the free space",
    )


def remedy_for_writing(error: OSError) -> str:
    """Return what to do where the operating system lets nothing be written."""
    if error.errno in _DISK_IS_FULL:
        return "free space, or choose a folder on another disk"
    return "correct the path or its permissions, or choose another folder"
