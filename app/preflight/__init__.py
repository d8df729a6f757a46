"""What a place to run has, and what a workflow lacks there, before it is sent. Asks free sources only."""
