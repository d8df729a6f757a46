"""Model sync: what is here, what is on the volume, and the ways between."""
