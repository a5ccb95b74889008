"""Long-lived reads: streams, their resumption, and waits for a stage."""
