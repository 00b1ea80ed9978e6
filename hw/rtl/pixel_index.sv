/// pixel_index - tells the read-out's scheduler where in the image each word stands.
///   out = {last, pixel, word}      last on the last word of an image
/// Beat        in: word of CHANNELS spikes, order pixel raster, t; out: word, pixel, last, word lowest
/// Latency     0: wires and two counters
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       the place of the next word: pixel and t
/// Golden      quant/golden/pixel_index.py
module pixel_index #(
  parameter int unsigned CHANNELS,
  parameter int unsigned PIXELS,
  parameter int unsigned TIME_STEPS,
  localparam int unsigned K_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CHANNELS+K_BITS:0] out_data
);
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;

  if (PIXELS < 1 || TIME_STEPS < 1) begin : chk_shape
    $error("pixel_index: PIXELS=%0d and TIME_STEPS=%0d must be at least 1", PIXELS, TIME_STEPS);
  end

  logic [K_BITS-1:0] pixel;
  logic [T_BITS-1:0] t;
  wire last_t = t == T_BITS'(TIME_STEPS - 1);
  wire last_pixel = pixel == K_BITS'(PIXELS - 1);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      pixel <= '0;
      t <= '0;
    end else if (in_valid && in_ready) begin
      t <= last_t ? '0 : t + 1'b1;
      if (last_t) pixel <= last_pixel ? '0 : pixel + 1'b1;
    end
  end

  assign out_valid = in_valid;
  assign in_ready = out_ready;
  assign out_data = {last_pixel && last_t, pixel, in_data};
endmodule
