"""The REST API: what the service layer (`manage`) offers, over HTTP, in ngrok's words where ngrok has the thing.

Every request passes `door` (who asks, from where, strict JSON), then one handler of a resource's module, then
`manage`, which alone decides who may do what. Whatever goes wrong is told by `problem`. Start reading at `app`.
"""
