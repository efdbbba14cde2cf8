"""The REST API: the service layer (`services`) over HTTP, compatible with ngrok's API where ngrok has the resource.

Every request passes `auth_middleware` (API key, origin, strict JSON), then one handler of a resource's module, then
`services`, which decides what the user may do. `problem` writes error responses. Start reading at `app`.
"""
