/// lif_pe - the channel-sparse LIF processing element: multiply-accumulate array and membrane update.
///   spikes[c] = lif(sum over a window's synapse steps and lanes of  weights[addr] * act)    for PE output channels c
/// Beat        in: SIMD act, SIMD addr, last (a synapse step, from either scheduler); out: PE spikes
///             order pixel, t, fold. With MAP_PIXELS, in, above last: ends, in the last step of a frame: it is the last
///             of its recording; order pixel, fold, a frame after the other
/// Rounds      the update serves NEURONS of a result's PE sums a cycle, in ROUNDS = ceil(PE / NEURONS) cycles, while
///             the array forms the next sums
/// Latency     of mac_array + [1 + stream_repeat] + lif_update + 1, a window's last step -> out_valid; narrow (ROUNDS
///             above 1): ROUNDS + 1 more
/// Throughput  1 synapse step/cycle while out_ready, but narrow the last step of result i, in cycle l(i), waits for
///             l(i) > w(i-1), where w(i) = max(l(i), w(i-1) + ROUNDS): a result is served while another one waits;
///             direct coding: at least ROUNDS cycles a result formed, and ROUNDS*TIME_STEPS*FOLDS a pixel
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers, and
///             last
/// State       that of its parts, and CREDITS: a result enters the pipeline only if the FIFO at its end has room, so
///             that the pipeline itself runs free, without an enable
/// Memory      those of mac_array; FOLDS*ROUNDS words of NEURONS biases, thresholds and reset levels as in lif_update
/// Golden      quant/golden/lif_pe.py
module lif_pe #(
  parameter int unsigned PE,
  parameter int unsigned NEURONS,     // 1 to PE; need not divide it
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned LOOKUP,      // 1 and more: activations are patterns, as in mac_array
  parameter int unsigned PLACES,
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned DIRECT,    // 1: in carries a pixel once and its current is fed to all time steps (soft reset: see direct_pe)
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,
  parameter int unsigned SOFT_RESET,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE,
  parameter int unsigned DECAY_FACTOR = 1,
  parameter int unsigned DECAY_SHIFT = 0,
  parameter V_RESET_FILE = "",
  parameter int unsigned MAP_PIXELS = 0,  // 0: TIME_STEPS of a pixel come together; else a frame of so many pixels
  localparam int unsigned FRAMES = MAP_PIXELS > 0 ? 1 : 0,
  localparam int unsigned PARTS = LOOKUP > 1 ? LOOKUP : 1,
  localparam int unsigned PATTERN_BITS = PLACES * ((IN_BITS / PLACES + PARTS - 1) / PARTS),
  localparam int unsigned WORDS = LOOKUP > 0 ? DEPTH >> PATTERN_BITS : DEPTH,
  localparam int unsigned ADDR_BITS = WORDS > 1 ? $clog2(WORDS) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS)+FRAMES:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE-1:0] out_data
);
  // At least the cycles a credit is out: no bubble at a result a cycle. A word of a bank that is cut into segments is on
  // its way for up to 5 cycles more.
  localparam int unsigned CHOOSING = DEPTH > 16384 ? 5 : 0;
  localparam int unsigned CREDITS = DEPTH > 16384 ? 32 : 16;
  localparam int unsigned ROUNDS = (PE + NEURONS - 1) / NEURONS;

  if ($clog2(SIMD * PARTS) + 10 + CHOOSING > CREDITS) begin : chk_credits
    $error("lif_pe: SIMD=%0d, LOOKUP=%0d make the pipeline longer than its %0d credits", SIMD, LOOKUP, CREDITS);
  end
  if (FRAMES == 1 && DIRECT == 1) begin : chk_frames
    $error("lif_pe: DIRECT=%0d must be 0 of frames: each has currents of its own", DIRECT);
  end
  if (NEURONS < 1 || NEURONS > PE) begin : chk_neurons
    $error("lif_pe: NEURONS=%0d must be 1 to PE=%0d", NEURONS, PE);
  end

  // --- the credits: results on their way, from where they are certain to the FIFO ----------------------------------
  logic [$clog2(CREDITS+1)-1:0] credits;
  logic granted, spent;
  logic apart;  // in the next cycle a result can begin: the sums before it leave the array in time
  wire returned = out_valid && out_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      credits <= ($clog2(CREDITS + 1))'(CREDITS);
      granted <= 1'b1;
    end else begin
      if (spent != returned) credits <= spent ? credits - 1'b1 : credits + 1'b1;
      // credits != 0, as a register: ready paths begin here
      granted <= (returned || credits > (spent ? 1 : 0)) && apart;
    end
  end

  // --- the sums, and NEURONS of them a beat ------------------------------------------------------------------------
  logic mac_valid, mac_ready, acc_valid, acc_ready, sum_valid, sum_ready, some_valid, some_ready;
  logic [SIMD*(IN_BITS+ADDR_BITS):0] mac_data;
  logic [PE*ACC_BITS-1:0] acc_data;
  logic [NEURONS*ACC_BITS-1:0] some_data;
  mac_array #(
    .PE(PE), .SIMD(SIMD), .IN_BITS(IN_BITS), .LOOKUP(LOOKUP), .PLACES(PLACES),
    .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(ACC_BITS), .DEPTH(DEPTH), .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(mac_valid), .in_ready(mac_ready), .in_data(mac_data),
    .out_valid(acc_valid), .out_ready(acc_ready), .out_data(acc_data)
  );
  stream_width #(
    .IN_BITS(ROUNDS * NEURONS * ACC_BITS), .OUT_BITS(NEURONS * ACC_BITS)
  ) rounds (
    .clk(clk), .rst_n(rst_n), .in_valid(sum_valid), .in_ready(sum_ready),
    .in_data((ROUNDS * NEURONS * ACC_BITS)'(acc_data)),
    .out_valid(some_valid), .out_ready(some_ready), .out_data(some_data)
  );

  logic current_valid, current_ready;
  logic [NEURONS*ACC_BITS-1:0] current_data;
  if (DIRECT == 1) begin : direct
    // a result is a repetition: the credit is spent behind the repeater, whose ready path ends at this queue
    stream_fifo #(.WIDTH(SIMD * (IN_BITS + ADDR_BITS) + 1), .DEPTH(2)) steps (
      .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready),
      .in_data(in_data[SIMD*(IN_BITS+ADDR_BITS):0]), .out_valid(mac_valid), .out_ready(mac_ready), .out_data(mac_data)
    );
    assign sum_valid = acc_valid;
    assign acc_ready = sum_ready;
    assign apart = 1'b1;
    logic repeat_valid, repeat_ready, last;
    assign current_valid = repeat_valid && (granted || !last);
    assign repeat_ready = current_ready && (granted || !last);
    assign spent = current_valid && current_ready && last;
    stream_repeat #(
      .WIDTH(NEURONS * ACC_BITS), .FOLDS(FOLDS * ROUNDS), .TIME_STEPS(TIME_STEPS)
    ) repeated (
      .clk(clk), .rst_n(rst_n), .in_valid(some_valid), .in_ready(some_ready), .in_data(some_data),
      .out_valid(repeat_valid), .out_ready(repeat_ready), .out_data(current_data)
    );
    if (ROUNDS == 1) begin : whole
      assign last = 1'b1;
    end else begin : narrow
      logic [$clog2(ROUNDS)-1:0] turn;
      assign last = turn == ($clog2(ROUNDS))'(ROUNDS - 1);
      always_ff @(posedge clk) begin
        if (!rst_n) turn <= '0;
        else if (current_valid && current_ready) turn <= last ? '0 : turn + 1'b1;
      end
    end
  end else begin : coded
    // a result is a window's last step
    wire last = in_data[SIMD*(IN_BITS+ADDR_BITS)];
    assign mac_data = in_data[SIMD*(IN_BITS+ADDR_BITS):0];
    assign mac_valid = in_valid && (granted || !last);
    assign in_ready = mac_ready && (granted || !last);
    assign spent = mac_valid && mac_ready && last;
    assign current_valid = some_valid;
    assign some_ready = current_ready;
    assign current_data = some_data;
    if (ROUNDS == 1) begin : whole
      assign sum_valid = acc_valid;
      assign acc_ready = sum_ready;
      assign apart = 1'b1;
    end else begin : narrow
      // A result waits in the array's last register while the one before is served, and the array goes on. `behind`:
      // cycles until all results that have begun could be served. The next one begins where only one is then waiting.
      localparam int unsigned BITS = $clog2(2 * ROUNDS - 1);
      logic [BITS-1:0] behind;
      logic waiting;
      assign apart = spent ? behind == '0 : behind <= BITS'(ROUNDS);
      assign sum_valid = acc_valid || waiting;
      assign acc_ready = 1'b1;
      always_ff @(posedge clk) begin
        if (!rst_n) begin
          waiting <= 1'b0;
          behind <= '0;
        end else begin
          waiting <= sum_valid && !sum_ready;
          if (spent) behind <= behind + BITS'(ROUNDS - 1);
          else if (behind != '0) behind <= behind - 1'b1;
        end
      end
    end
  end

  // --- of frames: beside each result, whether its recording ends with it --------------------------------------------
  logic [NEURONS*ACC_BITS+FRAMES-1:0] update_data;
  if (FRAMES == 0) begin : no_frames
    assign update_data = current_data;
  end else begin : frames
    logic ends, unused_ready, unused_valid, last_round;
    stream_fifo #(.WIDTH(1), .DEPTH(CREDITS)) ended (
      .clk(clk), .rst_n(rst_n), .in_valid(spent), .in_ready(unused_ready),
      .in_data(in_data[SIMD*(IN_BITS+ADDR_BITS)+1]), .out_valid(unused_valid),
      .out_ready(current_valid && current_ready && last_round), .out_data(ends)
    );
    assign update_data = {ends, current_data};
    if (ROUNDS == 1) begin : whole
      assign last_round = 1'b1;
    end else begin : narrow
      logic [$clog2(ROUNDS)-1:0] round;
      assign last_round = round == ($clog2(ROUNDS))'(ROUNDS - 1);
      always_ff @(posedge clk) begin
        if (!rst_n) round <= '0;
        else if (current_valid && current_ready) round <= last_round ? '0 : round + 1'b1;
      end
    end
  end

  // --- the membranes, and the spikes of a result -------------------------------------------------------------------
  logic spike_valid, result_valid, unused_spike_ready, unused_result_ready;  // high: this is what credits are for
  logic [NEURONS-1:0] spike_data;
  logic [ROUNDS*NEURONS-1:0] result_data;
  lif_update #(
    .PE(NEURONS), .FOLDS(FOLDS * ROUNDS), .TIME_STEPS(TIME_STEPS), .ACC_BITS(ACC_BITS), .V_BITS(V_BITS),
    .FRACTION_BITS(FRACTION_BITS), .LEAK_SHIFT(LEAK_SHIFT), .SOFT_RESET(SOFT_RESET), .BIAS_FILE(BIAS_FILE),
    .THRESHOLD_FILE(THRESHOLD_FILE), .DECAY_FACTOR(DECAY_FACTOR), .DECAY_SHIFT(DECAY_SHIFT), .V_RESET_FILE(V_RESET_FILE),
    .MAP_PIXELS(MAP_PIXELS)
  ) update (
    .clk(clk), .rst_n(rst_n), .in_valid(current_valid), .in_ready(current_ready), .in_data(update_data),
    .out_valid(spike_valid), .out_ready(1'b1), .out_data(spike_data)
  );
  stream_width #(
    .IN_BITS(NEURONS), .OUT_BITS(ROUNDS * NEURONS)
  ) whole_result (
    .clk(clk), .rst_n(rst_n), .in_valid(spike_valid), .in_ready(unused_spike_ready), .in_data(spike_data),
    .out_valid(result_valid), .out_ready(1'b1), .out_data(result_data)
  );
  if (ROUNDS * NEURONS > PE) begin : idle  // neurons that stand for no sum, in the last round
    wire unused = &{1'b0, result_data[ROUNDS*NEURONS-1:PE]};
  end
  stream_fifo #(.WIDTH(PE), .DEPTH(CREDITS)) results (
    .clk(clk), .rst_n(rst_n), .in_valid(result_valid), .in_ready(unused_result_ready), .in_data(result_data[PE-1:0]),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
