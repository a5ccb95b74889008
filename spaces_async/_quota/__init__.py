"""Pacing: what is known of the quota, and who may send next."""
