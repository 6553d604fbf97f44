"""From files and options to a run: its trainer, model and data. Importing this package alone loads nothing heavy."""
