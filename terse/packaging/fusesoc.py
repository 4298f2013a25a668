# SPDX-License-Identifier: Apache-2.0
"""A FuseSoC core of a configuration's Verilog, and the test bench that its target `sim` runs.

The keys are those of FuseSoC's core description format, CAPI2.
"""

from importlib.metadata import version

from firmware.registers import ADDRESS_BITS, BY_NAME, ID, constants
from golden_model.hardware import HardwareConfig

__all__ = ["core_file", "bench_file"]

CORE = """CAPI=2:
name: ::{name}:{version}
description: Terse, an ALBERT that drops tokens and exits early, {tokens} x {columns} lanes

filesets:
  rtl:
    files: [{name}.v]
    file_type: verilogSource
  bench:
    files: [{name}_tb.v]
    file_type: verilogSource
  waivers:
    files: [lint.vlt: {{file_type: vlt}}]

targets:
  default:
    filesets: [rtl]
    toplevel: terse
  lint:
    filesets: [rtl, waivers]
    toplevel: terse
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall]
  sim:
    filesets: [rtl, bench]
    toplevel: terse_tb
    default_tool: icarus
    tools:
      icarus:
        iverilog_options: [-g2012]
  synth:
    filesets: [rtl]
    toplevel: terse
    default_tool: yosys
    tools:
      yosys:
        arch: ecp5
        yosys_synth_options: [-nowidelut]
"""

BENCH = """// Reads registers of Terse over AXI4-Lite: is it there, and is it the one of this file?
`timescale 1ns/1ps
module terse_tb;
  reg clk = 0;
  reg rst = 1;
  reg [{last}:0] araddr = 0;
  reg arvalid = 0;
  wire arready, rvalid;
  wire [31:0] rdata;
  always #5 clk = ~clk;

  terse dut(
    .clk(clk), .rst(rst),
    .s_axil_araddr(araddr), .s_axil_arvalid(arvalid), .s_axil_arready(arready),
    .s_axil_rready(1'b1), .s_axil_rvalid(rvalid), .s_axil_rdata(rdata),
    .s_axil_awaddr({bits}'b0), .s_axil_awvalid(1'b0), .s_axil_wvalid(1'b0), .s_axil_bready(1'b1),
    .m_axi_arready(1'b0), .m_axi_rvalid(1'b0), .m_axi_awready(1'b0), .m_axi_wready(1'b0),
    .m_axi_bvalid(1'b0), .m_axi_emb_arready(1'b0), .m_axi_emb_rvalid(1'b0)
  );

  task check(input [{last}:0] address, input [31:0] wanted);
    begin
      @(negedge clk) araddr = address;
      arvalid = 1;
      @(posedge clk) while (!arready) @(posedge clk);
      @(negedge clk) arvalid = 0;
      while (!rvalid) @(negedge clk);
      if (rdata !== wanted) begin
        $display("register %h: %h, not %h", address, rdata, wanted);
        $fatal(1);
      end
    end
  endtask

  initial begin
    repeat (4) @(negedge clk);
    rst = 0;
{checks}
    $display("Terse is there");
    $finish;
  end

  initial #100000 $fatal(1, "no answer");
endmodule
"""


def core_file(name: str, config: HardwareConfig) -> str:
    """The text of NAME.core, beside NAME.v, NAME_tb.v and lint.vlt."""
    return CORE.format(
        name=name, version=version("terse"), tokens=config.tokens, columns=config.columns
    )


def bench_file(config: HardwareConfig) -> str:
    """Verilog that reads the identity and the configuration's hash."""
    known = {"ID": ID, "CONFIG_HASH": constants(config)["CONFIG_HASH"], "STATUS": 0}
    checks = "\n".join(
        f"    check({ADDRESS_BITS}'h{BY_NAME[name].offset:x}, 32'h{value:08x});"
        for name, value in known.items()
    )
    return BENCH.format(last=ADDRESS_BITS - 1, bits=ADDRESS_BITS, checks=checks)
