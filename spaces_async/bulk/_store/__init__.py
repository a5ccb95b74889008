"""Where a run that several hosts work on is kept: the protocol, Redis, a file."""
