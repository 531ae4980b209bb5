"""Environment: who renders, as a person names it: local, openai, a hosted server, a saved block.

`openai`, `azure` and the names of hosted servers stand for what the environment describes. Naming
a provider asks, starts and loads nothing.
"""

from prefect_sora.renders.environment.named import (
    LOCAL_FOLDER_VARIABLE,
    described,
    keys,
    local_folder,
    named_anywhere,
    named_profile,
    named_provider,
    takes_profile,
)
from prefect_sora.renders.environment.providers import (
    CHOICES,
    Described,
    Local,
    NamedProvider,
    Saved,
)
from prefect_sora.renders.environment.variables import (
    KEY_VARIABLE,
    OPENAI_URL,
    PRICES_VARIABLE,
    PROFILE_VARIABLE,
)

__all__ = [
    "CHOICES",
    "KEY_VARIABLE",
    "LOCAL_FOLDER_VARIABLE",
    "OPENAI_URL",
    "PRICES_VARIABLE",
    "PROFILE_VARIABLE",
    "Described",
    "Local",
    "NamedProvider",
    "Saved",
    "described",
    "keys",
    "local_folder",
    "named_anywhere",
    "named_profile",
    "named_provider",
    "takes_profile",
]
