"""OpenAI's Responses: `/v1/responses`. Pure: ids, times and the store are given in.

request     a body to a `Chat`, and what the answer repeats of it
items       what `input` holds, as messages
tools       what the model may call
writer      deltas to the events of a stream, or to a whole response
kept        what is kept of a response, so that the next one can go on with it
"""
