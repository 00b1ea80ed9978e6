/// direct_pe - the processing element of direct coding with hard reset: multiply-accumulate array and comparisons.
///   sum[c] = sum over a window's synapse steps and lanes of  weights[addr] * act    for PE output channels c
///   A neuron that gets the same sum each time step fires first at step p, and then every p steps; p is at most k + 1
///   where the sum is above level k. So all spikes of a pixel are told from its sum: no membrane, no repetition.
/// Beat        in: SIMD act, SIMD addr, last (a synapse step, from either scheduler), order pixel, fold; out:
///             TIME_STEPS x PE spikes, step 0 lowest
/// Latency     of mac_array + 5, a window's last step -> out_valid
/// Throughput  1 synapse step/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers, and
///             last
/// State       that of mac_array, and CREDITS: a result enters the pipeline only if the FIFO at its end has room, so
///             that the pipeline itself runs free, without an enable
/// Memory      that of mac_array; FOLDS words of TIME_STEPS x PE levels (LEVELS_FILE.mem) of ACC_BITS + 1 bits, signed:
///             the highest sums that do not fire up to a step
/// Golden      quant/golden/direct_pe.py
module direct_pe #(
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned LOOKUP,      // 1 and more: activations are patterns, as in mac_array
  parameter int unsigned PLACES,
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter WEIGHTS_FILE,
  parameter LEVELS_FILE,
  localparam int unsigned PARTS = LOOKUP > 1 ? LOOKUP : 1,
  localparam int unsigned PATTERN_BITS = PLACES * ((IN_BITS / PLACES + PARTS - 1) / PARTS),
  localparam int unsigned WORDS = LOOKUP > 0 ? DEPTH >> PATTERN_BITS : DEPTH,
  localparam int unsigned ADDR_BITS = WORDS > 1 ? $clog2(WORDS) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [TIME_STEPS*PE-1:0] out_data
);
  // At least the cycles a credit is out: no bubble at a result a cycle. A word of a bank that is cut into segments is on
  // its way for up to 5 cycles more.
  localparam int unsigned CHOOSING = DEPTH > 16384 ? 5 : 0;
  localparam int unsigned CREDITS = DEPTH > 16384 ? 32 : 16;
  localparam int unsigned BITS = ACC_BITS + 1;  // a level may lie below every sum
  localparam bit [BITS-1:0] SIGN = BITS'(1) << (BITS - 1);  // turned over, numbers compare without one
  localparam int unsigned MIDDLE = BITS / 3, HIGH = 2 * BITS / 3;  // where each stage of a comparison begins
  localparam int unsigned F_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;

  if ($clog2(SIMD * PARTS) + 10 + CHOOSING > CREDITS) begin : chk_credits
    $error("direct_pe: SIMD=%0d, LOOKUP=%0d make the pipeline longer than its %0d credits", SIMD, LOOKUP, CREDITS);
  end
  if (FOLDS < 1 || TIME_STEPS < 1) begin : chk_shape
    $error("direct_pe: FOLDS=%0d and TIME_STEPS=%0d must be at least 1", FOLDS, TIME_STEPS);
  end

  // --- the credits: results on their way, from where they are certain to the FIFO ----------------------------------
  logic [$clog2(CREDITS+1)-1:0] credits;
  logic granted, mac_ready;
  wire last = in_data[SIMD*(IN_BITS+ADDR_BITS)];
  wire mac_valid = in_valid && (granted || !last);
  wire spent = mac_valid && mac_ready && last;
  wire returned = out_valid && out_ready;
  assign in_ready = mac_ready && (granted || !last);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      credits <= ($clog2(CREDITS + 1))'(CREDITS);
      granted <= 1'b1;
    end else begin
      if (spent != returned) credits <= spent ? credits - 1'b1 : credits + 1'b1;
      granted <= returned || credits > (spent ? 1 : 0);  // credits != 0, as a register: ready paths begin here
    end
  end

  // --- the sums ----------------------------------------------------------------------------------------------------
  logic acc_valid;
  logic [PE-1:0][ACC_BITS-1:0] acc;
  mac_array #(
    .PE(PE), .SIMD(SIMD), .IN_BITS(IN_BITS), .LOOKUP(LOOKUP), .PLACES(PLACES),
    .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(ACC_BITS), .DEPTH(DEPTH), .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(mac_valid), .in_ready(mac_ready), .in_data(in_data),
    .out_valid(acc_valid), .out_ready(1'b1), .out_data(acc)
  );

  // --- compared with the levels of their fold in three stages, lowest bits first -----------------------------------
  // Bit by bit this takes a fraction of the LUTs of a carry chain, as the levels are constants of few folds.
  typedef logic [TIME_STEPS-1:0][PE-1:0] reached_t;
  (* rom_style = "logic" *) logic [TIME_STEPS-1:0][PE-1:0][BITS-1:0] level [FOLDS];
  initial $readmemh({LEVELS_FILE, ".mem"}, level);

  // a > b in the bits from `first` on, below `stop`; where they are equal, `lower` decides
  function automatic logic above(
    input logic [BITS-1:0] a, input logic [BITS-1:0] b, input int first, input int stop, input logic lower
  );
    logic yes;
    yes = lower;
    for (int i = first; i < stop; i++) yes = b[i] ? a[i] && yes : a[i] || yes;
    return yes;
  endfunction

  logic [F_BITS-1:0] fold, fold_1, fold_2;
  logic [PE-1:0][BITS-1:0] sum;
  logic [PE-1:0][BITS-MIDDLE-1:0] sum_1;  // bits that are not compared yet
  logic [PE-1:0][BITS-HIGH-1:0] sum_2;
  reached_t above_1, above_2, reached_3, spikes;
  always_comb begin
    for (int p = 0; p < PE; p++) sum[p] = BITS'($signed(acc[p])) ^ SIGN;
  end
  always_ff @(posedge clk) begin
    for (int p = 0; p < PE; p++) begin
      sum_1[p] <= sum[p][BITS-1:MIDDLE];
      sum_2[p] <= sum_1[p][BITS-MIDDLE-1:HIGH-MIDDLE];
      for (int k = 0; k < TIME_STEPS; k++) begin
        above_1[k][p] <= above(sum[p], level[fold][k][p] ^ SIGN, 0, MIDDLE, 1'b0);
        above_2[k][p] <= above(BITS'(sum_1[p]) << MIDDLE, level[fold_1][k][p] ^ SIGN, MIDDLE, HIGH, above_1[k][p]);
        reached_3[k][p] <= above(BITS'(sum_2[p]) << HIGH, level[fold_2][k][p] ^ SIGN, HIGH, BITS, above_2[k][p]);
      end
    end
    fold_1 <= fold;
    fold_2 <= fold_1;
    if (!rst_n) fold <= '0;
    else if (acc_valid) fold <= fold == F_BITS'(FOLDS - 1) ? '0 : fold + 1'b1;
  end

  // --- the spikes: a neuron whose first one comes at step k fires with every k + 1 steps ---------------------------
  logic [3:1] valid;
  logic spikes_valid, unused_ready;  // high: this is what credits are for
  always_ff @(posedge clk) begin
    spikes <= '0;
    for (int t = 0; t < TIME_STEPS; t++) begin
      for (int k = 0; k <= t; k++) begin
        if ((t + 1) % (k + 1) == 0) begin
          for (int p = 0; p < PE; p++) begin
            if (reached_3[k][p] && (k == 0 || !reached_3[k==0?0:k-1][p])) spikes[t][p] <= 1'b1;
          end
        end
      end
    end
    if (!rst_n) {spikes_valid, valid} <= '0;
    else {spikes_valid, valid} <= {valid, acc_valid};
  end
  stream_fifo #(.WIDTH(TIME_STEPS * PE), .DEPTH(CREDITS)) results (
    .clk(clk), .rst_n(rst_n), .in_valid(spikes_valid), .in_ready(unused_ready), .in_data(spikes),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
