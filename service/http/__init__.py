"""How bytes arrive and leave: Granian's RSGI objects, request bodies, the bridge to Robyn.

It may import api and everything below; rules about items do not belong here. Start with
``rsgi``, where every request enters.
"""
