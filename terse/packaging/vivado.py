# SPDX-License-Identifier: Apache-2.0
"""A Tcl script that packages a configuration's Verilog as an IP of Vivado, with its AXI interfaces.

Commands and properties are those of the Vivado Design Suite Tcl command reference, UG835; no Vivado
has run it.
"""

from importlib.metadata import version

from hw.queue.dvfs import dvfs_ports

__all__ = ["BUSES", "ip_script"]

BUSES = ("s_axil", "m_axi", "m_axi_emb")  # prefixes of ports, which Vivado infers by their names
PART = "xc7a100tcsg324-1"  # of the Arty A7-100T; the IP is for every part
SCRIPT = """# Packages {name}.v as an IP with AXI interfaces, into ip/{name}:
#   vivado -mode batch -source {name}_ip.tcl
create_project -in_memory -part {part}
read_verilog {name}.v
set_property top terse [current_fileset]
ipx::package_project -root_dir ip/{name} -vendor terse -library ip -taxonomy /UserIP \\
  -import_files -set_current true
set core [ipx::current_core]
set_property name {name} $core
set_property version {version} $core
set_property display_name "Terse {name}" $core
set_property description "ALBERT that drops tokens and exits early" $core
foreach bus {{{buses}}} {{
  if {{[llength [ipx::get_bus_interfaces $bus -of_objects $core]] != 1}} {{
    error "AXI interface $bus was not inferred"
  }}
  ipx::associate_bus_interfaces -busif $bus -clock clk $core
}}
ipx::associate_bus_interfaces -clock clk -reset rst $core
set reset [ipx::get_bus_interfaces rst -of_objects $core]
set_property value ACTIVE_HIGH [ipx::add_bus_parameter POLARITY $reset]
ipx::infer_bus_interface irq xilinx.com:signal:interrupt_rtl:1.0 $core
# These stay plain ports: {plain}.
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
"""


def ip_script(name: str) -> str:
    """The text of NAME_ip.tcl, beside NAME.v."""
    return SCRIPT.format(
        name=name,
        part=PART,
        version=".".join(version("terse").split(".")[:2]),
        buses=" ".join(BUSES),
        plain=", ".join(dvfs_ports()),
    )
