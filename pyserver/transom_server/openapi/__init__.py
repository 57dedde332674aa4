"""The OpenAPI document: which route takes and gives what. Bodies are `transom_api.openapi`'s.

operations  what a row of the table says
routes      the APIs' routes
registry    the registry's
document    the document, and the command that writes it
"""
