"""What can be asked of a Space: each write once, and the state that proves it."""
