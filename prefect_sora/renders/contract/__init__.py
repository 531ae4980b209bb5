"""The contract: what a video server can and cannot do, tried on the server itself."""

from prefect_sora.renders.contract.suite import BEHAVIOURS, Behaviour, check, clips, smallest
from prefect_sora.renders.contract.trial import Fault, Finding, Outcome, Provoke

__all__ = [
    "BEHAVIOURS",
    "Behaviour",
    "Fault",
    "Finding",
    "Outcome",
    "Provoke",
    "check",
    "clips",
    "smallest",
]
