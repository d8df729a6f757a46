"""Jobs: the model, the store, and the one runner. The hub that uses ``workflows`` and ``endpoint``."""
