"""Packed data: many small files, read and checked once, then gathered from one memory-mapped array a modality."""

from fusionlit.data.pack.manifest import Column
from fusionlit.data.pack.source import Source, fingerprint
from fusionlit.data.pack.store import Pack, open_or_pack

__all__ = ["Column", "Pack", "Source", "fingerprint", "open_or_pack"]
