"""The ports of one local cloud.

Owns which port each part listens on and the check that all are free. The names of the variables
and the defaults are preflight's, which checks the same before anything is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from local.preflight import PORTS, check_port, port_number


@dataclass(frozen=True)
class Ports:
    """One port for each entry of preflight.PORTS, in that order."""

    ministack: int
    triton_http: int
    triton_grpc: int
    triton_metrics: int
    web: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Ports:
        """The ports that the variables name, or the defaults. Raises Unfit."""
        return cls(*(port_number(spec, dict(environment)) for spec in PORTS))

    def check_free(self) -> None:
        """Raises Unfit, naming the variable, for the first port that is in use."""
        for spec, port in zip(PORTS, astuple(self), strict=True):
            check_port(spec, port)

    @property
    def aws_endpoint_url(self) -> str:
        return f"http://localhost:{self.ministack}"

    @property
    def web_url(self) -> str:
        return f"http://localhost:{self.web}"

    @property
    def triton_grpc_url(self) -> str:
        return f"localhost:{self.triton_grpc}"
