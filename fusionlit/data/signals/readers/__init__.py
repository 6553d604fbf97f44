"""A reader per format of signals, and which one a folder or file wants."""
