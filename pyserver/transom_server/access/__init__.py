"""Who is let in: hosts and origins, API keys and what they may, how much and how often."""
