/// lif_neuron - the neurons of a layer whose currents come as a stream: membrane update, PE neurons a beat.
///   spikes[c] = lif(current[c])      as in lif_update
/// Beat        in: PE currents, signed, order pixel, t, fold; out: PE spikes
/// Latency     of lif_update + 1, currents accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready is a register
/// State       that of its parts, and CREDITS: a beat enters only if the FIFO at the end has room, so that the update
///             itself runs free, without an enable
/// Memory      those of lif_update
/// Golden      quant/golden/lif_neuron.py
module lif_neuron #(
  parameter int unsigned PE,
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,
  parameter int unsigned SOFT_RESET,
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE,
  parameter int unsigned DECAY_FACTOR = 1,
  parameter int unsigned DECAY_SHIFT = 0,
  parameter V_RESET_FILE = "",
  parameter int unsigned MAP_PIXELS = 0,
  localparam int unsigned FRAMES = MAP_PIXELS > 0 ? 1 : 0
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [PE*ACC_BITS+FRAMES-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE-1:0] out_data
);
  localparam int unsigned CREDITS = 16;  // at least the cycles a credit is out: no bubble at a beat a cycle

  if (PE < 1 || FOLDS < 1 || TIME_STEPS < 1) begin : chk_shape
    $error("lif_neuron: PE=%0d, FOLDS=%0d, TIME_STEPS=%0d must be at least 1", PE, FOLDS, TIME_STEPS);
  end

  // --- the credits: beats on their way to the FIFO, and in it -------------------------------------------------------
  logic [$clog2(CREDITS+1)-1:0] credits;
  wire spent = in_valid && in_ready;
  wire returned = out_valid && out_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      credits <= ($clog2(CREDITS + 1))'(CREDITS);
      in_ready <= 1'b1;
    end else begin
      if (spent != returned) credits <= spent ? credits - 1'b1 : credits + 1'b1;
      in_ready <= returned || credits > (spent ? 1 : 0);  // credits != 0, as a register: ready paths begin here
    end
  end

  // --- the membranes, and their spikes ------------------------------------------------------------------------------
  logic spike_valid, unused_current_ready, unused_spike_ready;  // high: this is what credits are for
  logic [PE-1:0] spike_data;
  lif_update #(
    .PE(PE), .FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS), .ACC_BITS(ACC_BITS), .V_BITS(V_BITS),
    .FRACTION_BITS(FRACTION_BITS), .LEAK_SHIFT(LEAK_SHIFT), .SOFT_RESET(SOFT_RESET), .BIAS_FILE(BIAS_FILE),
    .THRESHOLD_FILE(THRESHOLD_FILE), .DECAY_FACTOR(DECAY_FACTOR), .DECAY_SHIFT(DECAY_SHIFT), .V_RESET_FILE(V_RESET_FILE),
    .MAP_PIXELS(MAP_PIXELS)
  ) update (
    .clk(clk), .rst_n(rst_n), .in_valid(spent), .in_ready(unused_current_ready), .in_data(in_data),
    .out_valid(spike_valid), .out_ready(1'b1), .out_data(spike_data)
  );
  stream_fifo #(.WIDTH(PE), .DEPTH(CREDITS)) results (
    .clk(clk), .rst_n(rst_n), .in_valid(spike_valid), .in_ready(unused_spike_ready), .in_data(spike_data),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
