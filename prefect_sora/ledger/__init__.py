"""The records of a store: what happened to each render, which are open, and what they cost."""

from prefect_sora.ledger.book import Ledger
from prefect_sora.ledger.claims import TORN
from prefect_sora.ledger.payments import day_of, run_of

__all__ = ["TORN", "Ledger", "day_of", "run_of"]
