/// stream_fork - gives each beat of a stream to OUTS readers, each of which takes it when it is ready.
///   out[i] = in      for every i
/// Beat        WIDTH bits, opaque; out_data is one bus that all readers share
/// Latency     0: wires, and a bit a reader
/// Throughput  1 beat/cycle while all readers are ready; a beat leaves the input as the last of them takes it
/// Handshake   valid never waits for ready, a reader's neither for another one's; payload stable while valid && !ready;
///             in_ready follows out_ready
/// State       OUTS bits: which readers have the beat
/// Golden      quant/golden/stream_fork.py
module stream_fork #(
  parameter int unsigned WIDTH,
  parameter int unsigned OUTS    // readers
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [WIDTH-1:0] in_data,
  output logic [OUTS-1:0] out_valid,
  input  logic [OUTS-1:0] out_ready,
  output logic [WIDTH-1:0] out_data
);
  if (WIDTH < 1 || OUTS < 1) begin : chk_shape
    $error("stream_fork: WIDTH=%0d and OUTS=%0d must be at least 1", WIDTH, OUTS);
  end

  logic [OUTS-1:0] done;
  assign out_valid = in_valid ? ~done : '0;
  assign out_data = in_data;
  assign in_ready = &(done | out_ready);
  always_ff @(posedge clk) begin
    if (!rst_n) done <= '0;
    else if (in_valid) done <= in_ready ? '0 : done | out_ready;
  end
endmodule
