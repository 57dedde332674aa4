"""The API core in the page: Python in a worker answers what the server answers, with the engine of
the page. Knows `transom_api` and `transom_models`, and of JavaScript only the shape of its objects.
"""
