/// current_pe - the processing element of currents: multiply-accumulate array, without neurons behind it.
///   sum[c] = sum over a window's synapse steps and lanes of  weights[addr] * act    for PE output channels c
/// Beat        in: SIMD act, SIMD addr, last (a synapse step, from either scheduler); out: PE sums, signed
///             order pixel, t, fold
/// Latency     of mac_array + [1 + stream_repeat] + 1, a window's last step -> out_valid
/// Throughput  1 synapse step/cycle while out_ready; direct coding: at least TIME_STEPS*FOLDS cycles a pixel
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers, and
///             last
/// State       that of its parts, and CREDITS: a result enters the pipeline only if the FIFO at its end has room, so
///             that the pipeline itself runs free, without an enable
/// Memory      those of mac_array
/// Golden      quant/golden/current_pe.py
module current_pe #(
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned LOOKUP,      // 1 and more: activations are patterns, as in mac_array
  parameter int unsigned PLACES,
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned DIRECT,      // 1: in carries a pixel once and its current goes to all time steps
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter WEIGHTS_FILE,
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
  output logic [PE*ACC_BITS-1:0] out_data
);
  // At least the cycles a credit is out: no bubble at a result a cycle. A word of a bank that is cut into segments is on
  // its way for up to 5 cycles more.
  localparam int unsigned CHOOSING = DEPTH > 16384 ? 5 : 0;
  localparam int unsigned CREDITS = DEPTH > 16384 ? 32 : 16;

  if ($clog2(SIMD * PARTS) + 6 + CHOOSING > CREDITS) begin : chk_credits
    $error("current_pe: SIMD=%0d, LOOKUP=%0d make the pipeline longer than its %0d credits", SIMD, LOOKUP, CREDITS);
  end
  if (FOLDS < 1 || TIME_STEPS < 1 || DIRECT > 1) begin : chk_shape
    $error("current_pe: FOLDS=%0d and TIME_STEPS=%0d must be at least 1, DIRECT=%0d 0 or 1", FOLDS, TIME_STEPS, DIRECT);
  end

  // --- the credits: results on their way, from where they are certain to the FIFO ----------------------------------
  logic [$clog2(CREDITS+1)-1:0] credits;
  logic granted, spent;
  wire returned = out_valid && out_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      credits <= ($clog2(CREDITS + 1))'(CREDITS);
      granted <= 1'b1;
    end else begin
      if (spent != returned) credits <= spent ? credits - 1'b1 : credits + 1'b1;
      granted <= returned || credits > (spent ? 1 : 0);  // credits != 0, as a register: ready paths begin here
    end
  end

  // --- the sums, and those of a pixel again at each time step --------------------------------------------------------
  logic mac_valid, mac_ready, acc_valid, acc_ready, sum_valid, unused_ready;  // high: this is what credits are for
  logic [SIMD*(IN_BITS+ADDR_BITS):0] mac_data;
  logic [PE*ACC_BITS-1:0] acc_data, sum_data;
  mac_array #(
    .PE(PE), .SIMD(SIMD), .IN_BITS(IN_BITS), .LOOKUP(LOOKUP), .PLACES(PLACES),
    .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(ACC_BITS), .DEPTH(DEPTH), .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(mac_valid), .in_ready(mac_ready), .in_data(mac_data),
    .out_valid(acc_valid), .out_ready(acc_ready), .out_data(acc_data)
  );
  if (DIRECT == 1) begin : direct
    // a result is a repetition: the credit is spent behind the repeater, whose ready path ends at this queue
    stream_fifo #(.WIDTH(SIMD * (IN_BITS + ADDR_BITS) + 1), .DEPTH(2)) steps (
      .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
      .out_valid(mac_valid), .out_ready(mac_ready), .out_data(mac_data)
    );
    logic repeat_valid;
    assign sum_valid = repeat_valid && granted;
    assign spent = sum_valid;
    stream_repeat #(
      .WIDTH(PE * ACC_BITS), .FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS)
    ) repeated (
      .clk(clk), .rst_n(rst_n), .in_valid(acc_valid), .in_ready(acc_ready), .in_data(acc_data),
      .out_valid(repeat_valid), .out_ready(granted), .out_data(sum_data)
    );
  end else begin : coded
    // a result is a window's last step
    wire last = in_data[SIMD*(IN_BITS+ADDR_BITS)];
    assign mac_data = in_data;
    assign mac_valid = in_valid && (granted || !last);
    assign in_ready = mac_ready && (granted || !last);
    assign spent = mac_valid && mac_ready && last;
    assign sum_valid = acc_valid;
    assign acc_ready = 1'b1;
    assign sum_data = acc_data;
  end

  stream_fifo #(.WIDTH(PE * ACC_BITS), .DEPTH(CREDITS)) results (
    .clk(clk), .rst_n(rst_n), .in_valid(sum_valid), .in_ready(unused_ready), .in_data(sum_data),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
