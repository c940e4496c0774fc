"""The EdgeHaul agent: runs models on a box and reports over MQTT."""
