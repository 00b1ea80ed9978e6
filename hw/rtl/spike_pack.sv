/// spike_pack - gathers FOLDS beats of PE spikes into one word of all channels.
///   word[t][f*PE + l] = spike l of step t of beat f; bits from FOLDS*PE on are 0, bits from CHANNELS on are dropped
/// Beat        in: STEPS x PE spikes, FOLDS beats a word; out: STEPS x CHANNELS spikes; step 0 lowest
/// Latency     1 cycle, last fold accepted -> out_valid
/// Throughput  1 beat/cycle while a word leaves within FOLDS cycles: the next is gathered while the last waits
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       the word being gathered and the word waiting
/// Golden      quant/golden/spike_pack.py
module spike_pack #(
  parameter int unsigned PE,
  parameter int unsigned FOLDS,
  parameter int unsigned CHANNELS,  // more than FOLDS*PE: the upper channels never spike
  parameter int unsigned STEPS      // time steps side by side
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [STEPS*PE-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [STEPS*CHANNELS-1:0] out_data
);
  if (PE < 1 || FOLDS < 1 || CHANNELS < 1 || STEPS < 1) begin : chk_shape
    $error("spike_pack: PE=%0d, FOLDS=%0d, CHANNELS=%0d, STEPS=%0d must be at least 1", PE, FOLDS, CHANNELS, STEPS);
  end

  logic last;
  logic [STEPS-1:0][FOLDS*PE-1:0] word;
  wire take = in_valid && in_ready;
  assign in_ready = !last || !out_valid || out_ready;

  if (FOLDS == 1) begin : whole
    assign last = 1'b1;
    assign word = in_data;
  end else begin : gather
    localparam int unsigned FOLD_BITS = $clog2(FOLDS);
    localparam int unsigned HELD = (FOLDS - 1) * PE;
    logic [FOLD_BITS-1:0] fold;
    logic [STEPS-1:0][HELD-1:0] parts;  // beats come in at the top and move down
    assign last = fold == FOLD_BITS'(FOLDS - 1);
    for (genvar t = 0; t < STEPS; t++) begin : of_step
      assign word[t] = {in_data[t*PE+:PE], parts[t]};
    end
    always_ff @(posedge clk) begin
      if (take) for (int t = 0; t < STEPS; t++) parts[t] <= word[t][FOLDS*PE-1:PE];
      if (!rst_n) fold <= '0;
      else if (take) fold <= last ? '0 : fold + 1'b1;
    end
  end

  if (FOLDS * PE > CHANNELS) begin : idle  // lanes of the last fold that stand for no channel
    for (genvar t = 0; t < STEPS; t++) begin : of_step
      wire unused = &{1'b0, word[t][FOLDS*PE-1:CHANNELS]};
    end
  end

  always_ff @(posedge clk) begin
    if (take && last) for (int t = 0; t < STEPS; t++) out_data[t*CHANNELS+:CHANNELS] <= CHANNELS'(word[t]);
    if (!rst_n) out_valid <= 1'b0;
    else if (take && last) out_valid <= 1'b1;
    else if (out_ready) out_valid <= 1'b0;
  end
endmodule
