"""Cutting of recordings, at any sampling rates, into windows."""
