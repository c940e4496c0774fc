"""The receiving side: a client, the ledger of what was received, and a durable collector."""
