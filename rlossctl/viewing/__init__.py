"""Nets as pages: one to look into, or two side by side with what differs."""

from rlossctl.viewing.cards import BlobCard, LayerCard, NetView, blob_card
from rlossctl.viewing.page import Changed, NetPage, render_nets

__all__ = ["BlobCard", "Changed", "LayerCard", "NetPage", "NetView", "blob_card", "render_nets"]
