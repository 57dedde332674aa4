"""The API described as JSON Schema: what requests may say, and what answers are.

Names, caps, choices and refusals are those that the readers use, imported from them; a test holds
each reader to its schema (tests/pyserver/test_openapi_readers.py). Which route takes and gives what
is the server's to say (`transom_server.openapi`). Pure.

schema      JSON Schema in a few words
options     Ollama's options, keep_alive, and what all dialects share
openai, openai_answers, responses, anthropic, ollama, tasks    requests and answers, by dialect
errors      the error object of each dialect
"""
