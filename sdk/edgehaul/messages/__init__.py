"""The MQTT contract: envelope, payloads, topics, codec and their schemas."""
