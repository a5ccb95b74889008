"""The journal of a bulk on disk: its format, reading, writing, and history."""
