/// lif_pe - the channel-sparse LIF processing element: multiply-accumulate array and membrane update.
///   spikes[c] = lif(sum over a window's synapse steps and lanes of  weights[addr] * act)    for PE output channels c
/// Beat        in: SIMD act, SIMD addr, last (a synapse step, from either scheduler); out: PE spikes
///             order pixel, t, fold
/// Latency     of mac_array + [1 + stream_repeat] + lif_update + 1, a window's last step -> out_valid
/// Throughput  1 synapse step/cycle while out_ready; direct coding: at least TIME_STEPS*FOLDS cycles a pixel
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers, and
///             last
/// State       that of its parts, and CREDITS: a result enters the pipeline only if the FIFO at its end has room, so
///             that the pipeline itself runs free, without an enable
/// Golden      quant/golden/lif_pe.py
module lif_pe #(
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned FOLDS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned DIRECT,    // 1: in carries a pixel once and its current is fed to all time steps
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,
  parameter int unsigned SOFT_RESET,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE,
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE-1:0] out_data
);
  localparam int unsigned CREDITS = 16;  // at least the cycles a credit is out: no bubble at a result a cycle

  if ($clog2(SIMD) + 10 > CREDITS) begin : chk_credits
    $error("lif_pe: SIMD=%0d makes the pipeline longer than its %0d credits", SIMD, CREDITS);
  end

  logic mac_valid, mac_ready, acc_valid, acc_ready, current_valid, current_ready;
  logic [SIMD*(IN_BITS+ADDR_BITS):0] mac_data;
  logic [PE*ACC_BITS-1:0] acc_data, current_data;
  logic spike_valid, unused_spike_ready;  // always high: that is what the credits are for
  logic [PE-1:0] spike_data;

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

  mac_array #(
    .PE(PE), .SIMD(SIMD), .IN_BITS(IN_BITS), .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(ACC_BITS), .DEPTH(DEPTH),
    .WEIGHTS_FILE(WEIGHTS_FILE)
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
    logic repeat_valid, repeat_ready;
    assign current_valid = repeat_valid && granted;
    assign repeat_ready = current_ready && granted;
    assign spent = current_valid && current_ready;
    stream_repeat #(
      .WIDTH(PE * ACC_BITS), .FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS)
    ) repeated (
      .clk(clk), .rst_n(rst_n), .in_valid(acc_valid), .in_ready(acc_ready), .in_data(acc_data),
      .out_valid(repeat_valid), .out_ready(repeat_ready), .out_data(current_data)
    );
  end else begin : coded
    // a result is a window's last step
    wire last = in_data[SIMD*(IN_BITS+ADDR_BITS)];
    assign mac_data = in_data;
    assign mac_valid = in_valid && (granted || !last);
    assign in_ready = mac_ready && (granted || !last);
    assign spent = mac_valid && mac_ready && last;
    assign current_valid = acc_valid;
    assign acc_ready = current_ready;
    assign current_data = acc_data;
  end

  lif_update #(
    .PE(PE), .FOLDS(FOLDS), .TIME_STEPS(TIME_STEPS), .ACC_BITS(ACC_BITS), .V_BITS(V_BITS),
    .FRACTION_BITS(FRACTION_BITS), .LEAK_SHIFT(LEAK_SHIFT), .SOFT_RESET(SOFT_RESET), .BIAS_FILE(BIAS_FILE),
    .THRESHOLD_FILE(THRESHOLD_FILE)
  ) update (
    .clk(clk), .rst_n(rst_n), .in_valid(current_valid), .in_ready(current_ready), .in_data(current_data),
    .out_valid(spike_valid), .out_ready(1'b1), .out_data(spike_data)
  );

  stream_fifo #(.WIDTH(PE), .DEPTH(CREDITS)) results (
    .clk(clk), .rst_n(rst_n), .in_valid(spike_valid), .in_ready(unused_spike_ready), .in_data(spike_data),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
