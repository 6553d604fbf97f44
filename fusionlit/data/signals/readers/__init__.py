"""Readers, one per format of signals, and the choice of a reader for a folder or file."""
