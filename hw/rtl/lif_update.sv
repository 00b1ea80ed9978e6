/// lif_update - leaky integrate-and-fire update, PE neurons a beat.
///   u = left + (acc << FRACTION_BITS) + bias      s = u >= threshold      nothing is left before a pixel's first step
///   left = decay(v), v = s ? (SOFT_RESET ? u - threshold : v_reset) : u; delayed: decay(u) - (s ? threshold : 0)
///   decay(v) = l*DECAY_FACTOR >>> DECAY_SHIFT, l = v - (v >>> LEAK_SHIFT), or v
/// Beat        in: PE acc, signed, order pixel, t, fold; out: PE spikes. With MAP_PIXELS, in: PE acc, ends, a frame
///             after the other in order pixel, fold; ends, in a frame's last beat: it is the last of its recording, and
///             nothing is left for the next one
/// Latency     4 cycles, acc accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       FOLDS x PE membranes of V_BITS, alive only while their pixel is being computed; none at TIME_STEPS 1;
///             with MAP_PIXELS those of the map, in block RAM from 65 words on. Beats come in a fixed order, so that a
///             membrane is read three beats ahead, and no sooner than two behind its last update: MAP_PIXELS*FOLDS > 4
/// Memory      FOLDS words of PE biases (BIAS_FILE.mem), thresholds (THRESHOLD_FILE.mem) and, where they are not 0,
///             levels of a hard reset (V_RESET_FILE.mem), V_BITS each, signed
/// Golden      quant/golden/lif_update.py
module lif_update #(
  parameter int unsigned PE,
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,         // holds every u, v and u - threshold
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,     // 0: no leak
  parameter int unsigned SOFT_RESET,     // 0: hard; 1: soft; 2: soft, behind the decay of the next step
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE,
  parameter int unsigned DECAY_FACTOR = 1,  // at most 2 ** DECAY_SHIFT
  parameter int unsigned DECAY_SHIFT = 0,
  parameter V_RESET_FILE = "",              // none: a hard reset puts v to 0
  parameter int unsigned MAP_PIXELS = 0,    // 0: TIME_STEPS of a pixel come together; else a frame of so many pixels
  localparam bit FRAMES = MAP_PIXELS > 0
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
  localparam bit DELAYED = SOFT_RESET == 2;
  localparam bit RESETS = V_RESET_FILE != "";

  if (SOFT_RESET > 2 || (RESETS && SOFT_RESET != 0)) begin : chk_reset
    $error("lif_update: SOFT_RESET=%0d must be 0 to 2, and 0 with levels of a hard reset", SOFT_RESET);
  end
  if (DECAY_FACTOR > 255 || DECAY_FACTOR > 1 << DECAY_SHIFT) begin : chk_decay
    $error("lif_update: DECAY_FACTOR=%0d must be at most 255 and 2 ** DECAY_SHIFT=%0d", DECAY_FACTOR, DECAY_SHIFT);
  end
  if (LEAK_SHIFT >= V_BITS) begin : chk_leak
    $error("lif_update: LEAK_SHIFT=%0d must be below V_BITS=%0d", LEAK_SHIFT, V_BITS);
  end

  if (FRAMES && TIME_STEPS != 1) begin : chk_steps
    $error("lif_update: TIME_STEPS=%0d must be 1 of frames: MAP_PIXELS=%0d", TIME_STEPS, MAP_PIXELS);
  end

  typedef logic [PE-1:0][V_BITS-1:0] lanes_t;

  wire enable = !out_valid || out_ready;
  assign in_ready = enable;

  // --- stage 1: the beat ------------------------------------------------------------------------------------------
  lanes_t bias [FOLDS];
  lanes_t threshold [FOLDS];
  initial $readmemh({BIAS_FILE, ".mem"}, bias);
  initial $readmemh({THRESHOLD_FILE, ".mem"}, threshold);

  logic [3:1] valid;
  logic [PE-1:0][ACC_BITS-1:0] acc;
  always_ff @(posedge clk) begin
    if (enable) acc <= in_data[PE*ACC_BITS-1:0];
    if (!rst_n) {out_valid, valid} <= '0;
    else if (enable) {out_valid, valid} <= {valid, in_valid};
  end

  if (TIME_STEPS == 1 && FOLDS == 1 && !FRAMES) begin : constants
    // A pixel ends with its only step: no membrane, a neuron fires where acc lies above a constant. Bit by bit that
    // takes a fraction of the LUTs of a carry chain. The lower half is compared a stage ahead, as the sum comes in.
    localparam int unsigned BITS = V_BITS > ACC_BITS + FRACTION_BITS ? V_BITS - FRACTION_BITS : ACC_BITS;
    localparam bit [BITS-1:0] SIGN = BITS'(1) << (BITS - 1);  // turned over, numbers compare without one

    // a > b in the bits from `first` on, below `stop`; where they are equal, `lower` decides
    function automatic logic above(
      input logic [BITS-1:0] a, input logic [BITS-1:0] b, input int first, input int stop, input logic lower
    );
      logic yes;
      yes = lower;
      for (int i = first; i < stop; i++) yes = b[i] ? a[i] && yes : a[i] || yes;
      return yes;
    endfunction

    logic [PE-1:0][BITS-1:0] level;  // the highest acc that does not fire
    logic [PE-1:0] above_1, spike_2, spike_3;
    always_comb begin
      for (int p = 0; p < PE; p++) begin
        level[p] = BITS'($signed(threshold[0][p] + ~bias[0][p]) >>> FRACTION_BITS) ^ SIGN;
      end
    end
    always_ff @(posedge clk) begin
      if (enable) begin
        for (int p = 0; p < PE; p++) begin
          above_1[p] <= above(BITS'($signed(in_data[p*ACC_BITS+:ACC_BITS])) ^ SIGN, level[p], 0, BITS / 2, 1'b0);
          spike_2[p] <= above(BITS'($signed(acc[p])) ^ SIGN, level[p], BITS / 2, BITS, above_1[p]);
        end
        out_data <= spike_3;
      end
      // the reset keeps the delay in flip-flops: a shift register takes a LUT a neuron
      if (!rst_n) spike_3 <= '0;
      else if (enable) spike_3 <= spike_2;
    end
  end else begin : current
    localparam int unsigned F_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;

    // --- and beside it its bias and threshold -----------------------------------------------------------------------
    logic [F_BITS-1:0] in_fold;
    lanes_t bias_1, threshold_1;
    always_ff @(posedge clk) begin
      if (enable) begin
        bias_1 <= bias[in_fold];
        threshold_1 <= threshold[in_fold];
      end
      if (!rst_n) in_fold <= '0;
      else if (enable && in_valid) in_fold <= in_fold == F_BITS'(FOLDS - 1) ? '0 : in_fold + 1'b1;
    end

    // --- stage 2: what the step adds to the membrane --------------------------------------------------------------
    lanes_t input_2, threshold_2;
    always_ff @(posedge clk) begin
      if (enable) begin
        for (int p = 0; p < PE; p++) input_2[p] <= (V_BITS'($signed(acc[p])) << FRACTION_BITS) + bias_1[p];
        threshold_2 <= threshold_1;
      end
    end

    if (TIME_STEPS == 1 && !FRAMES) begin : one_step
      // a pixel ends with its only step: no membrane
      logic [PE-1:0] spike_3;
      always_ff @(posedge clk) begin
        if (enable) begin
          for (int p = 0; p < PE; p++) spike_3[p] <= $signed(input_2[p]) >= $signed(threshold_2[p]);
          out_data <= spike_3;
        end
      end
    end else begin : membranes
      localparam int unsigned WORDS = FRAMES ? MAP_PIXELS * FOLDS : FOLDS;  // of membranes, of which each step visits all
      localparam int unsigned W_BITS = WORDS > 1 ? $clog2(WORDS) : 1;

      // What is left of a membrane, and what comes in. Half of it is ceil(v / 2), and ceil(v / 2) + x is floor((v + 2x +
      // 1) / 2): one sum. Otherwise the decay is taken off ahead, the factor as a sum of shifts in which a run of ones
      // is a difference of two: the digits of its non-adjacent form.
      localparam bit SCALED = DECAY_FACTOR != 1 || DECAY_SHIFT != 0;
      localparam bit HALVED = LEAK_SHIFT == 1 && !SCALED && !DELAYED;
      localparam int unsigned PLUS = (3 * DECAY_FACTOR & ~DECAY_FACTOR) >> 1;
      localparam int unsigned MINUS = (DECAY_FACTOR & ~(3 * DECAY_FACTOR)) >> 1;
      function automatic logic [V_BITS-1:0] decayed(input logic [V_BITS-1:0] v);
        automatic logic [V_BITS-1:0] left = HALVED || LEAK_SHIFT == 0 ? v : v - $unsigned($signed(v) >>> LEAK_SHIFT);
        automatic logic signed [V_BITS+8:0] product = '0;
        for (int i = 8; i >= 0; i--) begin  // highest first: shifts between the sums keep them on carry chains
          product = product <<< 1;
          if (PLUS[i]) product = product + (V_BITS + 9)'($signed(left));
          if (MINUS[i]) product = product - (V_BITS + 9)'($signed(left));
        end
        return SCALED ? V_BITS'(product >>> DECAY_SHIFT) : left;
      endfunction
      function automatic logic [V_BITS-1:0] stepped(input logic [V_BITS-1:0] left, input logic [V_BITS-1:0] x);
        automatic logic [V_BITS:0] twice = {left[V_BITS-1], left} + {x, 1'b1};
        return HALVED ? V_BITS'(twice >> 1) : left + x;
      endfunction

      logic [W_BITS-1:0] word, next_word;  // of the beat that meets its membranes
      logic first_t, last_t;               // it is of the first step, of the last one
      wire last_word = word == W_BITS'(WORDS - 1);
      wire next_first = last_word ? last_t : first_t;  // the next beat finds nothing left
      wire go = enable && valid[WORDS > 2 ? 2 : 3];
      assign next_word = last_word ? '0 : word + 1'b1;

      if (FRAMES) begin : frames
        logic [3:1] ends;
        assign last_t = ends[WORDS > 2 ? 2 : 3];
        always_ff @(posedge clk) begin
          if (enable) ends <= {ends[2:1], in_data[PE*ACC_BITS]};
          if (!rst_n) first_t <= 1'b1;
          else if (go && last_word) first_t <= last_t;
        end
      end else begin : steps
        localparam int unsigned T_BITS = $clog2(TIME_STEPS);
        logic [T_BITS-1:0] t;
        assign first_t = t == '0;
        assign last_t = t == T_BITS'(TIME_STEPS - 1);
        always_ff @(posedge clk) begin
          if (!rst_n) t <= '0;
          else if (go && last_word) t <= last_t ? '0 : t + 1'b1;
        end
      end

      lanes_t held, v, next;  // the membranes of the beat without what leaks; their next values; those of the next beat
      logic [PE-1:0] spike;
      always_ff @(posedge clk) begin
        if (enable) out_data <= spike;
        if (!rst_n) word <= '0;
        else if (go) word <= next_word;
        if (!rst_n || (go && next_first)) held <= '0;
        else if (go) for (int p = 0; p < PE; p++) held[p] <= DELAYED ? next[p] : decayed(next[p]);
      end

      // --- beside a beat, up to stage 3, where a hard reset puts its membranes -----------------------------------------
      lanes_t back;
      if (RESETS) begin : resets
        lanes_t v_reset [FOLDS];
        lanes_t back_1, back_2;
        initial $readmemh({V_RESET_FILE, ".mem"}, v_reset);
        always_ff @(posedge clk) if (enable) {back, back_2, back_1} <= {back_2, back_1, v_reset[in_fold]};
      end else begin : to_zero
        assign back = '0;
      end

      if (WORDS > 2) begin : apart
        // --- stage 3: u; stage 4: is it the threshold? A membrane is read a beat after it was written, or later -------
        lanes_t u_3, threshold_3;
        logic [W_BITS-1:0] word_3;
        if (FRAMES && WORDS > 64) begin : deep
          (* ram_style = "block", no_rw_check *)  // no word is read while it is written
          lanes_t membrane [WORDS];
          logic [W_BITS-1:0] ahead;  // of the beat behind the next two
          lanes_t read;              // from the memory, and then in a register, for the memory is slow
          always_ff @(posedge clk) begin
            if (go) {next, read} <= {read, membrane[ahead]};
            if (enable && valid[3]) membrane[word_3] <= v;
            if (!rst_n) ahead <= W_BITS'(3);
            else if (go) ahead <= ahead == W_BITS'(WORDS - 1) ? '0 : ahead + 1'b1;
          end
        end else begin : shallow
          lanes_t membrane [WORDS];
          assign next = membrane[next_word];
          always_ff @(posedge clk) if (enable && valid[3]) membrane[word_3] <= v;
        end
        always_comb begin
          for (int p = 0; p < PE; p++) begin
            automatic logic [V_BITS-1:0] over = u_3[p] - threshold_3[p];
            spike[p] = !over[V_BITS-1];
            if (DELAYED) v[p] = decayed(u_3[p]) - (spike[p] ? threshold_3[p] : '0);
            else if (!spike[p]) v[p] = u_3[p];
            else v[p] = SOFT_RESET == 1 ? over : back[p];
          end
        end
        always_ff @(posedge clk) begin
          if (enable) begin
            for (int p = 0; p < PE; p++) u_3[p] <= stepped(held[p], input_2[p]);
            threshold_3 <= threshold_2;
            word_3 <= word;
          end
        end
      end else begin : near
        // --- stage 3: the input less the threshold ------------------------------------------------------------------
        lanes_t input_3, excess_3, threshold_3;
        always_ff @(posedge clk) begin
          if (enable) begin
            for (int p = 0; p < PE; p++) excess_3[p] <= input_2[p] - threshold_2[p];
            input_3 <= input_2;
            threshold_3 <= threshold_2;
          end
        end

        // --- stage 4: u and u - threshold are formed side by side, the sign of the latter decides ---------------------
        always_comb begin
          for (int p = 0; p < PE; p++) begin
            automatic logic [V_BITS-1:0] u = stepped(held[p], input_3[p]);
            automatic logic [V_BITS-1:0] over = stepped(held[p], excess_3[p]);
            spike[p] = !over[V_BITS-1];
            if (DELAYED) v[p] = decayed(u) - (spike[p] ? threshold_3[p] : '0);
            else if (!spike[p]) v[p] = u;
            else v[p] = SOFT_RESET == 1 ? over : back[p];
          end
        end
        if (WORDS == 1) begin : one_word
          assign next = v;
        end else begin : two_words
          lanes_t membrane [WORDS];
          always_ff @(posedge clk) if (go) membrane[word] <= v;
          assign next = membrane[next_word];
        end
      end
    end
  end
endmodule
