"""The ways between this computer and a target's network volume: a folder, S3, or commands to its worker."""
