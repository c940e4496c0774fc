"""The training of models of GPS traces and other series."""
