"""What the client costs: `python -m tests.benchmarks`, or `make bench`."""
