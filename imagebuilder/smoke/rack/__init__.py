"""The network as in the rack: a switch with VLANs, and a DHCP and TFTP server of its own."""

from imagebuilder.smoke.rack.layout import Layout, layout_of, needs_rack
from imagebuilder.smoke.rack.rack import TOOLS, Rack, find_rack_tools
from imagebuilder.smoke.rack.together import boot_together

__all__ = ["TOOLS", "Layout", "Rack", "boot_together", "find_rack_tools", "layout_of", "needs_rack"]
