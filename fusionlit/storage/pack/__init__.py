"""Packs: files are read and checked once, then gathered from one memory-mapped array per modality."""

from fusionlit.storage.pack.manifest import Column
from fusionlit.storage.pack.source import Contents, Source, fingerprint, in_folders
from fusionlit.storage.pack.store import Pack, open_or_pack

__all__ = ["Column", "Contents", "Pack", "Source", "fingerprint", "in_folders", "open_or_pack"]
