/// lif_pe - the channel-sparse LIF processing element: scheduler, multiply-accumulate array, membrane update.
///   spikes[c] = lif(sum over the kept synapses of  weights[c] * in)    for PE output channels c a beat, FOLDS beats
/// Beat        in: word, k, last (as window_buffer gives them); out: PE spikes; order pixel, t, fold
/// Latency     of synapse_list + mac_array + [stream_repeat] + lif_update + 1, a window's last beat -> out_valid
/// Throughput  1 synapse step/cycle while out_ready: positions * STEPS cycles a window;
///             direct coding: FOLDS * positions * STEPS cycles a pixel, where positions * STEPS >= TIME_STEPS
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       that of its parts, and CREDITS: a result enters the pipeline only if the FIFO at its end has room, so
///             that the pipeline itself runs free, without an enable
/// Golden      quant/golden/lif_pe.py
module lif_pe #(
  parameter int unsigned CHANNELS,  // of the input
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned KERNEL,
  parameter int unsigned FOLDS,
  parameter int unsigned STEPS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned DIRECT,    // 1: in carries a pixel once and its current is fed to all time steps
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned V_BITS,
  parameter int unsigned FRACTION_BITS,
  parameter int unsigned LEAK_SHIFT,
  parameter int unsigned SOFT_RESET,
  parameter LIST_FILE,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  parameter THRESHOLD_FILE,
  localparam int unsigned K_BITS = KERNEL > 1 ? $clog2(KERNEL) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS*IN_BITS+K_BITS:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE-1:0] out_data
);
  localparam int unsigned DEPTH = FOLDS * KERNEL * STEPS;
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned CREDITS = 16;  // at least the cycles a credit is out: no bubble at a result a cycle

  if ($clog2(SIMD) + 10 > CREDITS) begin : chk_credits
    $error("lif_pe: SIMD=%0d makes the pipeline longer than its %0d credits", SIMD, CREDITS);
  end

  logic synapse_valid, synapse_ready, mac_valid, mac_ready, acc_valid, acc_ready, current_valid, current_ready;
  logic [SIMD*(IN_BITS+ADDR_BITS):0] synapse_data;
  logic [PE*ACC_BITS-1:0] acc_data, current_data;
  logic spike_valid, unused_spike_ready;  // always high: that is what the credits are for
  logic [PE-1:0] spike_data;

  logic [$clog2(CREDITS+1)-1:0] credits;
  logic granted, spent;
  wire returned = out_valid && out_ready;
  assign granted = credits != '0;
  always_ff @(posedge clk) begin
    if (!rst_n) credits <= ($clog2(CREDITS + 1))'(CREDITS);
    else if (spent != returned) credits <= spent ? credits - 1'b1 : credits + 1'b1;
  end

  synapse_list #(
    .CHANNELS(CHANNELS), .SIMD(SIMD), .IN_BITS(IN_BITS), .KERNEL(KERNEL), .FOLDS(FOLDS), .STEPS(STEPS),
    .LIST_FILE(LIST_FILE)
  ) scheduler (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
    .out_valid(synapse_valid), .out_ready(synapse_ready), .out_data(synapse_data)
  );

  mac_array #(
    .PE(PE), .SIMD(SIMD), .IN_BITS(IN_BITS), .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(ACC_BITS), .DEPTH(DEPTH),
    .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(mac_valid), .in_ready(mac_ready), .in_data(synapse_data),
    .out_valid(acc_valid), .out_ready(acc_ready), .out_data(acc_data)
  );

  if (DIRECT == 1) begin : direct
    // a result is a repetition: the credit is spent behind the repeater
    logic repeat_valid, repeat_ready;
    assign mac_valid = synapse_valid;
    assign synapse_ready = mac_ready;
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
    wire last = synapse_data[SIMD*(IN_BITS+ADDR_BITS)];
    assign mac_valid = synapse_valid && (granted || !last);
    assign synapse_ready = mac_ready && (granted || !last);
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
