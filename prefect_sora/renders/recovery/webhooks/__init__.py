"""Webhooks: a server tells that a job has ended, and what it tells of comes home at once."""
