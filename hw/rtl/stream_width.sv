/// stream_width - widens or narrows a stream by a whole ratio, lowest part first.
///   wider:    out = {in[R-1], .., in[1], in[0]}      R = OUT_BITS / IN_BITS input beats to one
///   narrower: out[r] = in[r*OUT_BITS +: OUT_BITS]    R = IN_BITS / OUT_BITS output beats from one
/// Beat        in: IN_BITS, out: OUT_BITS, opaque
/// Latency     1 cycle, last part accepted (or word accepted) -> out_valid; 0 where the widths are equal: wires
/// Throughput  1 beat/cycle on the narrow side while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       one wide word and a part count
/// Golden      quant/golden/stream_width.py
module stream_width #(
  parameter int unsigned IN_BITS,
  parameter int unsigned OUT_BITS  // a multiple or a divisor of IN_BITS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [IN_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [OUT_BITS-1:0] out_data
);
  if (IN_BITS < 1 || OUT_BITS < 1) begin : chk_bits
    $error("stream_width: IN_BITS=%0d and OUT_BITS=%0d must be at least 1", IN_BITS, OUT_BITS);
  end else if (IN_BITS % OUT_BITS != 0 && OUT_BITS % IN_BITS != 0) begin : chk_ratio
    $error("stream_width: neither of IN_BITS=%0d and OUT_BITS=%0d divides the other", IN_BITS, OUT_BITS);
  end

  if (IN_BITS == OUT_BITS) begin : equal
    assign out_valid = in_valid;
    assign in_ready = out_ready;
    assign out_data = in_data;
    wire unused = &{1'b0, clk, rst_n};
  end else begin : convert
    localparam int unsigned RATIO = OUT_BITS > IN_BITS ? OUT_BITS / IN_BITS : IN_BITS / OUT_BITS;
    localparam int unsigned PART_BITS = $clog2(RATIO);
    logic [PART_BITS-1:0] part;
    logic full;
    wire last = part == PART_BITS'(RATIO - 1);
    assign out_valid = full;

    if (OUT_BITS > IN_BITS) begin : wider
      wire take = in_valid && in_ready;
      assign in_ready = !full || out_ready;
      always_ff @(posedge clk) begin
        // parts come in at the top and move down: after RATIO of them the first is the lowest
        if (take) out_data <= {in_data, out_data[OUT_BITS-1:IN_BITS]};
        if (!rst_n) begin
          part <= '0;
          full <= 1'b0;
        end else begin
          if (take) part <= last ? '0 : part + 1'b1;
          if (in_ready) full <= in_valid && last;
        end
      end
    end else begin : narrower
      logic [RATIO-1:0][OUT_BITS-1:0] word;
      assign out_data = word[part];
      assign in_ready = !full || (out_ready && last);
      always_ff @(posedge clk) begin
        if (in_ready) word <= in_data;
        if (!rst_n) begin
          part <= '0;
          full <= 1'b0;
        end else begin
          if (in_ready) full <= in_valid;
          if (full && out_ready) part <= last ? '0 : part + 1'b1;
        end
      end
    end
  end
endmodule
