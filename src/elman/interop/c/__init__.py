"""Networks as C."""
