"""What this package sends and takes, against the official client and the Hub."""
