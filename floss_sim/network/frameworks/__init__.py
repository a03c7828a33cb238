"""Deployment frameworks: the bytes and the seconds that each adds to a message and a round."""
