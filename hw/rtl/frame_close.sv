/// frame_close - puts a frame's token into its last beat: what ends there, a frame or its recording?
///   out = {ends, in}      ends: the token, in the last beat of a frame's BEATS results; 0 in the others
/// Beat        in: WIDTH bits; MARKED: the highest one says that a result's last beat this is, else each beat is a
///             result; ends: 1 bit a frame; out: in, the token above it
/// Latency     0: wires, and a count
/// Throughput  1 beat/cycle while out_ready; a frame's last beat waits for its token, which it takes with it
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready and, in a
///             frame's last beat, ends_valid
/// State       the results of the frame so far
/// Golden      quant/golden/frame_close.py
module frame_close #(
  parameter int unsigned WIDTH,
  parameter int unsigned BEATS,    // results of a frame
  parameter int unsigned MARKED    // 1: a result is several beats; 0: each beat is one
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [WIDTH-1:0] in_data,
  input  logic ends_valid,
  output logic ends_ready,
  input  logic ends_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [WIDTH:0] out_data
);
  if (WIDTH < 1 || BEATS < 1 || MARKED > 1) begin : chk_shape
    $error("frame_close: WIDTH=%0d and BEATS=%0d must be at least 1, MARKED=%0d 0 or 1", WIDTH, BEATS, MARKED);
  end

  wire result = MARKED == 0 || in_data[WIDTH-1];
  logic closing;  // it is the last result of the frame
  wire last = result && closing;
  wire open = !last || ends_valid;
  assign out_valid = in_valid && open;
  assign out_data = {last && ends_data, in_data};
  assign in_ready = out_ready && open;
  assign ends_ready = out_ready && in_valid && last;

  if (BEATS == 1) begin : one
    assign closing = 1'b1;
    wire unused = &{1'b0, clk, rst_n};
  end else begin : several
    localparam int unsigned COUNT_BITS = $clog2(BEATS);
    logic [COUNT_BITS-1:0] count;
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        count <= '0;
        closing <= 1'b0;
      end else if (out_valid && out_ready && result) begin
        count <= closing ? '0 : count + 1'b1;
        closing <= count == COUNT_BITS'(BEATS - 2);
      end
    end
  end
endmodule
