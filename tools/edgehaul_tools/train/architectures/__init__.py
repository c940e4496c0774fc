"""The networks, each a row of the table, in one place."""
