/// lif_update - leaky integrate-and-fire update, PE neurons a beat.
///   u = leak(v) + (acc << FRACTION_BITS) + bias      s = u >= threshold      leak(v) = v - (v >>> LEAK_SHIFT), or v
///   v = s ? (SOFT_RESET ? u - threshold : 0) : u     v = 0 before the first time step of a pixel
/// Beat        in: PE acc, signed, order pixel, t, fold; out: PE spikes
/// Latency     4 cycles, acc accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       FOLDS x PE membranes of V_BITS, alive only while their pixel is being computed; none at TIME_STEPS 1
/// Memory      FOLDS words of PE biases (BIAS_FILE.mem) and thresholds (THRESHOLD_FILE.mem), V_BITS each, signed
/// Golden      quant/golden/lif_update.py
module lif_update #(
  parameter int unsigned PE,
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,         // holds every u, v and u - threshold
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,     // 0: no leak
  parameter int unsigned SOFT_RESET,     // 0: hard
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [PE*ACC_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE-1:0] out_data
);
  localparam int unsigned F_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int unsigned LEVEL_BITS = V_BITS > ACC_BITS + FRACTION_BITS ? V_BITS - FRACTION_BITS : ACC_BITS;

  if (SOFT_RESET > 1) begin : chk_reset
    $error("lif_update: SOFT_RESET=%0d must be 0 or 1", SOFT_RESET);
  end
  if (LEAK_SHIFT >= V_BITS) begin : chk_leak
    $error("lif_update: LEAK_SHIFT=%0d must be below V_BITS=%0d", LEAK_SHIFT, V_BITS);
  end

  typedef logic [PE-1:0][V_BITS-1:0] lanes_t;

  wire enable = !out_valid || out_ready;
  assign in_ready = enable;

  // --- stage 1: the beat, beside its bias and threshold or what they come to ---------------------------------------
  lanes_t bias [FOLDS];
  lanes_t threshold [FOLDS];
  initial $readmemh({BIAS_FILE, ".mem"}, bias);
  initial $readmemh({THRESHOLD_FILE, ".mem"}, threshold);

  logic [3:1] valid;
  logic [F_BITS-1:0] in_fold;
  logic [PE-1:0][ACC_BITS-1:0] acc;
  always_ff @(posedge clk) begin
    if (enable) acc <= in_data;
    if (!rst_n) begin
      in_fold <= '0;
      valid <= '0;
    end else if (enable) begin
      valid <= {valid[2:1], in_valid};
      if (in_valid) in_fold <= in_fold == F_BITS'(FOLDS - 1) ? '0 : in_fold + 1'b1;
    end
  end

  // a > b, signed. A level that is a constant takes few LUTs when it is compared bit by bit, and none to propagate
  // a carry; one that changes with the fold takes a carry chain.
  function automatic logic above(input logic [LEVEL_BITS-1:0] a, input logic [LEVEL_BITS-1:0] b);
    logic yes;
    if (FOLDS > 1) begin
      yes = $signed(a) > $signed(b);
    end else begin
      yes = 1'b0;
      for (int i = 0; i < LEVEL_BITS - 1; i++) yes = b[i] ? a[i] && yes : a[i] || yes;
      // the sign counts the other way
      yes = b[LEVEL_BITS-1] ? !a[LEVEL_BITS-1] || yes : !a[LEVEL_BITS-1] && yes;
    end
    return yes;
  endfunction

  if (TIME_STEPS == 1) begin : one_step
    // a pixel begins and ends with its only step: no membrane, a neuron fires where acc lies above a constant
    logic [PE-1:0][LEVEL_BITS-1:0] level;  // the highest acc that does not fire
    logic [PE-1:0] spike_2, spike_3;
    always_ff @(posedge clk) begin
      if (enable) begin
        for (int p = 0; p < PE; p++) begin
          level[p] <= LEVEL_BITS'($signed(threshold[in_fold][p] + ~bias[in_fold][p]) >>> FRACTION_BITS);
          spike_2[p] <= above(LEVEL_BITS'($signed(acc[p])), level[p]);
        end
        out_data <= spike_3;
      end
      // the reset keeps the delay in flip-flops: a shift register takes a LUT a neuron
      if (!rst_n) spike_3 <= '0;
      else if (enable) spike_3 <= spike_2;
      if (!rst_n) out_valid <= 1'b0;
      else if (enable) out_valid <= valid[3];
    end
  end else begin : membranes
    localparam int unsigned T_BITS = $clog2(TIME_STEPS);

    function automatic logic [V_BITS-1:0] leaked(input logic [V_BITS-1:0] v);
      return LEAK_SHIFT == 0 ? v : v - $unsigned($signed(v) >>> LEAK_SHIFT);
    endfunction

    lanes_t bias_1, threshold_1;
    always_ff @(posedge clk) begin
      if (enable) begin
        bias_1 <= bias[in_fold];
        threshold_1 <= threshold[in_fold];
      end
    end

    // --- stages 2 and 3: what the step adds to the membrane, and the same less the threshold ------------------------
    lanes_t input_2, threshold_2, input_3, excess_3;
    always_ff @(posedge clk) begin
      if (enable) begin
        for (int p = 0; p < PE; p++) begin
          input_2[p] <= (V_BITS'($signed(acc[p])) << FRACTION_BITS) + bias_1[p];
          excess_3[p] <= input_2[p] - threshold_2[p];
        end
        threshold_2 <= threshold_1;
        input_3 <= input_2;
      end
    end

    // --- stage 4: the membranes; u and u - threshold are formed side by side, the sign of the latter decides ---------
    logic [F_BITS-1:0] fold, next_fold;
    logic [T_BITS-1:0] t;
    wire last_fold = fold == F_BITS'(FOLDS - 1);
    wire last_t = t == T_BITS'(TIME_STEPS - 1);
    wire next_first = last_fold ? last_t : t == '0;  // the next beat begins a pixel
    wire go = enable && valid[3];
    assign next_fold = last_fold ? '0 : fold + 1'b1;

    lanes_t held, v;  // the leaked membranes of the beat, and their next values
    logic [PE-1:0] spike;
    always_comb begin
      for (int p = 0; p < PE; p++) begin
        automatic logic [V_BITS-1:0] u = held[p] + input_3[p];
        automatic logic [V_BITS-1:0] over = held[p] + excess_3[p];
        spike[p] = !over[V_BITS-1];
        if (!spike[p]) v[p] = u;
        else v[p] = SOFT_RESET == 1 ? over : '0;
      end
    end

    lanes_t next;  // the membranes of the next beat
    if (FOLDS == 1) begin : one_fold
      assign next = v;
    end else begin : folded
      lanes_t membrane [FOLDS];
      always_ff @(posedge clk) if (go) membrane[fold] <= v;
      assign next = membrane[next_fold];
    end

    always_ff @(posedge clk) begin
      if (enable) out_data <= spike;
      if (!rst_n) begin
        out_valid <= 1'b0;
        fold <= '0;
        t <= '0;
      end else if (enable) begin
        out_valid <= valid[3];
        if (valid[3]) begin
          fold <= next_fold;
          if (last_fold) t <= last_t ? '0 : t + 1'b1;
        end
      end
      if (!rst_n || (go && next_first)) held <= '0;
      else if (go) for (int p = 0; p < PE; p++) held[p] <= leaked(next[p]);
    end
  end
endmodule
