"""The store's files: on a disk, in memory or in an object store, the same everywhere."""

from prefect_sora.store.backends.folder import Check, VideoFolder, Written

__all__ = ["Check", "VideoFolder", "Written"]
