"""What is charged against budgets, counted in the store by all who pay from it."""

from prefect_sora.spending.chain import Chain, chain_of, take_back
from prefect_sora.spending.entries import Before, Charge

__all__ = ["Before", "Chain", "Charge", "chain_of", "take_back"]
