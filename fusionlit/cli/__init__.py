"""Builds a run (trainer, model and data) from files and options. Importing this package alone loads nothing heavy."""
