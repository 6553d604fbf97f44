"""From recordings, of any rates, to windows."""
