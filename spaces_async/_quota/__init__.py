"""Pacing: what is known about the quota, and when the next request may go out."""
