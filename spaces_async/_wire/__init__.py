"""What is on the wire: calls, responses, converter, rate-limit headers, server-sent events, transport."""
