"""The load test's parts: the gateway under test, sipp, the media tool, the table."""
