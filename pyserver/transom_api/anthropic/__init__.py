"""Anthropic's dialect: `/v1/messages` and `/v1/messages/count_tokens`. Pure.

messages    a body to a `Chat`
content     the blocks of its messages
writer      deltas to the events of a stream, or to a whole message
errors      an error's status and body
"""
