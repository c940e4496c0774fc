"""Durable delivery: a spool on disk, and the forwarder that empties it into MQTT."""
