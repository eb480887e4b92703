"""Grammar and meaning of header fields: one module for each field or family of fields.

It may import api.request, items.decision (Conditions), model and settings. Start with
``media_types`` (Accept, Content-Type) or ``preconditions`` (If-Match, If-None-Match).
"""
