"""How one call is made: session, execution, shared state of the views, retry, auth."""
