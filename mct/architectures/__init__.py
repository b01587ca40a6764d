"""The networks of the field, one family a module; `mct.networks` is the table."""
