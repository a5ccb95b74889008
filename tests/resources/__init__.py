"""The five resource modules against aioresponses: what goes out, what comes back."""
