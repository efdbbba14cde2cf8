"""HTTP/1.1 as both ends need it, Sans-I/O: heads behind a strict gate, bodies, field rules. Start at `head`."""
