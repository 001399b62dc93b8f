"""Question -> ranked passages, and the chance that they hold the answer."""
