"""The HTTP/1.1 parser that agent and relay share, without I/O: message heads, bodies and header fields. Start at
`head`.
"""
