"""The page of one endpoint: its workers, how long its jobs take, its logs."""
