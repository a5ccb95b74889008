"""The engine of a bulk: workers, the run of one Space, the circuit breaker."""
