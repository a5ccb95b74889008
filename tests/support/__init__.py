"""Helpers that several tests share. Nothing in here is collected as a test."""
