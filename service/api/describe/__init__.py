"""The API's description of itself: the OpenAPI document and the page at /docs.

It may import model, settings and the other rooms of api, but no endpoint. Start with
``operations``, one value for each operation; ``openapi`` makes the document from them.
"""
