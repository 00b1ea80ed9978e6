/// stream_join - adds two streams, number by number: the joined spikes or currents of two ways through a graph.
///   out[l] = (a[l] << A_SHIFT) + (b[l] << B_SHIFT)      for LANES lanes l
/// Beat        a: LANES x A_BITS, b: LANES x B_BITS, out: LANES x OUT_BITS; two's complement if SIGNED, else unsigned
/// Latency     1 cycle, beat of each accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready and both streams have one: a beat of each is taken in the same cycle
/// Handshake   valid never waits for ready; payload stable while valid && !ready; the ready of a stream follows the
///             other one's valid, and out_ready
/// State       one beat
/// Golden      quant/golden/stream_join.py
module stream_join #(
  parameter int unsigned LANES,
  parameter int unsigned A_BITS,
  parameter int unsigned B_BITS,
  parameter int unsigned A_SHIFT,
  parameter int unsigned B_SHIFT,
  parameter int unsigned OUT_BITS,  // must hold every sum
  parameter int unsigned SIGNED     // 0: unsigned
) (
  input  logic clk,
  input  logic rst_n,
  input  logic a_valid,
  output logic a_ready,
  input  logic [LANES*A_BITS-1:0] a_data,
  input  logic b_valid,
  output logic b_ready,
  input  logic [LANES*B_BITS-1:0] b_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [LANES*OUT_BITS-1:0] out_data
);
  if (LANES < 1 || A_BITS < 1 || B_BITS < 1 || SIGNED > 1) begin : chk_shape
    $error("stream_join: LANES=%0d, A_BITS=%0d, B_BITS=%0d must be at least 1, SIGNED=%0d 0 or 1", LANES, A_BITS,
           B_BITS, SIGNED);
  end else if (OUT_BITS < A_BITS + A_SHIFT || OUT_BITS < B_BITS + B_SHIFT) begin : chk_bits
    $error("stream_join: OUT_BITS=%0d must hold A_BITS=%0d above A_SHIFT=%0d and B_BITS=%0d above B_SHIFT=%0d",
           OUT_BITS, A_BITS, A_SHIFT, B_BITS, B_SHIFT);
  end

  wire enable = !out_valid || out_ready;
  assign a_ready = enable && b_valid;
  assign b_ready = enable && a_valid;

  logic [LANES-1:0][OUT_BITS-1:0] sum;
  for (genvar l = 0; l < LANES; l++) begin : lane
    wire [A_BITS-1:0] a = a_data[l*A_BITS+:A_BITS];
    wire [B_BITS-1:0] b = b_data[l*B_BITS+:B_BITS];
    logic [OUT_BITS-1:0] wide_a, wide_b;
    if (SIGNED == 1) begin : extended
      assign wide_a = OUT_BITS'($signed(a));
      assign wide_b = OUT_BITS'($signed(b));
    end else begin : filled
      assign wide_a = OUT_BITS'(a);
      assign wide_b = OUT_BITS'(b);
    end
    assign sum[l] = (wide_a << A_SHIFT) + (wide_b << B_SHIFT);
  end

  always_ff @(posedge clk) begin
    if (enable) out_data <= sum;
    if (!rst_n) out_valid <= 1'b0;
    else if (enable) out_valid <= a_valid && b_valid;
  end
endmodule
