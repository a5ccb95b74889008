"""Long-lived reads: streams, resuming them, and waits for a stage."""
