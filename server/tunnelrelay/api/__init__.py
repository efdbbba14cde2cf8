"""The REST API: what the service layer (`services`) offers, over HTTP, in ngrok's words where ngrok has the thing.

Every request passes `auth_middleware` (API key, origin, strict JSON), then one handler of a resource's module, then
`services`, which alone decides who may do what. `problem` writes error responses. Start reading at `app`.
"""
