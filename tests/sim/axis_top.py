"""A top with AXI4-Stream ends of 32 bits, and a register between them that can be made faulty."""

READY, VALID = "!m_axis_tvalid || m_axis_tready", "if (s_axis_tready) m_axis_tvalid <= s_axis_tvalid;"


def axis_top(ready: str = READY, valid: str = VALID, data: str = "s_axis_tdata", more: str = "") -> str:
    """Its SystemVerilog.

    Args:
        ready: when it takes a beat.
        valid: the statement that says when it offers one.
        data: what it gives of a beat.
        more: declarations.
    """
    return f"""
module top (
  input logic clk, input logic rst_n,
  input logic s_axis_tvalid, output logic s_axis_tready, input logic [31:0] s_axis_tdata, input logic s_axis_tlast,
  output logic m_axis_tvalid, input logic m_axis_tready, output logic [31:0] m_axis_tdata, output logic m_axis_tlast,
  output logic frame_error
);
  {more}
  assign frame_error = 1'b0;
  assign s_axis_tready = {ready};
  always_ff @(posedge clk) begin
    if (s_axis_tready) begin m_axis_tdata <= {data}; m_axis_tlast <= s_axis_tlast; end
    if (!rst_n) m_axis_tvalid <= 0; else {valid}
  end
endmodule
"""
