/// frame_split - divides frames of pixels into their pixels, and a token a frame that tells whether its recording ends.
///   out = the pixel of every beat;  ends = end, of every beat that is a frame's last
/// Beat        in: WIDTH bits, last[1] of a frame, end[1] of a recording, in its last beat; out: WIDTH bits; ends: 1 bit
/// Latency     0: wires, and a bit a reader
/// Throughput  1 beat/cycle while both readers are ready; a beat leaves the input as the last of them takes it
/// Handshake   valid never waits for ready, a reader's neither for another one's; payload stable while valid && !ready;
///             in_ready follows out_ready and ends_ready
/// State       2 bits: which reader has its part of the beat
/// Golden      quant/golden/frame_split.py
module frame_split #(
  parameter int unsigned WIDTH
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [WIDTH+1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [WIDTH-1:0] out_data,
  output logic ends_valid,
  input  logic ends_ready,
  output logic ends_data
);
  if (WIDTH < 1) begin : chk_width
    $error("frame_split: WIDTH=%0d must be at least 1", WIDTH);
  end

  logic out_done, ends_done;
  wire last = in_data[WIDTH];
  wire out_has = out_done || out_ready;
  wire ends_has = !last || ends_done || ends_ready;
  assign out_valid = in_valid && !out_done;
  assign out_data = in_data[WIDTH-1:0];
  assign ends_valid = in_valid && last && !ends_done;
  assign ends_data = in_data[WIDTH+1];
  assign in_ready = out_has && ends_has;
  always_ff @(posedge clk) begin
    if (!rst_n) {out_done, ends_done} <= '0;
    else if (in_valid) {out_done, ends_done} <= in_ready ? '0 : {out_has, ends_has};
  end
endmodule
