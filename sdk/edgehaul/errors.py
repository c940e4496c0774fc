"""The one error tree of EdgeHaul.

Every error names what is wrong, where, and what the operator can do next, and
carries the exit code that both command lines return::

    EdgeHaulError                   1  anything below
    ├── UsageError                  2  a wrong argument or option
    │   └── ConfigError             2  a configuration file, with every fault in it
    ├── DataError                   1  a dataset, image, video or trace cannot be used
    │   ├── SourceError             1  a camera, clip or receiver cannot be opened or read
    │   └── DatasetError            1  labels or splits are unusable
    ├── ModelError                  1  a model cannot be loaded, exported or run
    │   └── SpecMismatchError       1  a model does not do what its spec says
    ├── BundleError                 1  a bundle cannot be read or built
    │   ├── BundleIntegrityError    1  a bundle's bytes are not the ones that were packed
    │   └── BundleCompatibilityError 1 a good bundle, but not for this device or agent
    ├── DeliveryError               1  results cannot be stored or sent
    │   ├── SpoolError              1  the durable spool is unusable
    │   └── BrokerError             1  the MQTT broker cannot be reached or refuses us
    ├── MessageError                1  a received message breaks the contract
    ├── GateError                   3  a quality gate is not met
    ├── AuthError                   4  credentials or signatures are refused
    └── DeviceError                 5  a device refused, or only part of a job was done
        ├── InstallError            5  a bundle could not be installed
        └── ParityError             5  a model answers differently on this box
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from os import PathLike

EXIT_OK = 0
EXIT_INTERRUPTED = 130


class EdgeHaulError(Exception):
    """Base of every error that EdgeHaul raises on purpose.

    Args:
        message: What is wrong, in one line.
        where: The file, topic or option that is at fault.
        remedy: What the operator can do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str | PathLike[str] = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = str(where)
        self.remedy = remedy

    def __str__(self) -> str:
        """Return ``where: message; remedy`` on one line."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.remedy}" if self.remedy else text


class UsageError(EdgeHaulError):
    """A wrong argument or option."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file with one or more faults, each at ``file:line:col``.

    Args:
        faults: One line for each fault, in the order of the file.
        where: The configuration file.
    """

    def __init__(self, faults: list[str], *, where: str | PathLike[str]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{count} in this configuration", where=where)
        self.faults = faults

    def __str__(self) -> str:
        """Return the faults, one a line (each already names its place)."""
        return "\n".join(self.faults)


class DataError(EdgeHaulError):
    """A dataset, image, video or trace cannot be used."""


class SourceError(DataError):
    """A camera, clip or receiver cannot be opened or read."""


class DatasetError(DataError):
    """Labels or splits are unusable."""


class ModelError(EdgeHaulError):
    """A model cannot be loaded, exported or run."""


class SpecMismatchError(ModelError):
    """A model does not do what its spec says."""


class BundleError(EdgeHaulError):
    """A bundle cannot be read or built."""


class BundleIntegrityError(BundleError):
    """A bundle's bytes are not the ones that were packed."""


class BundleCompatibilityError(BundleError):
    """A good bundle, but not for this device or this agent."""


class DeliveryError(EdgeHaulError):
    """Results cannot be stored or sent."""


class SpoolError(DeliveryError):
    """The durable spool is unusable."""


class BrokerError(DeliveryError):
    """The MQTT broker cannot be reached or refuses us."""


class MessageError(EdgeHaulError):
    """A received message breaks the contract."""


class GateError(EdgeHaulError):
    """A quality gate is not met."""

    exit_code = 3


class AuthError(EdgeHaulError):
    """Credentials or signatures are refused."""

    exit_code = 4


class DeviceError(EdgeHaulError):
    """A device refused, or only part of a job was done."""

    exit_code = 5


class InstallError(DeviceError):
    """A bundle could not be installed."""


class ParityError(DeviceError):
    """A model answers differently on this box than where it was proved."""
