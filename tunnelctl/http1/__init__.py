"""HTTP/1.1 as both ends need it, Sans-I/O: heads (llhttp, then a stricter gate), bodies, field rules. Start at `head`."""
