"""The Models page: what is here and on the volume, and the sync between them."""
