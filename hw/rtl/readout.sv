/// readout - integrates spikes into logits without firing, one synapse group a cycle for all classes at once.
///   logit[c] = bias[c] + sum over pixels, t, kept channels of  weights[c] * spike        class = arg-max, lowest index
/// Beat        in: word of CHANNELS spikes, order pixel, t; out, one an image: CLASSES logits, class above them
/// Latency     7 + ceil(log2(SIMD)) + STEPS + CLASSES cycles, an image's last word accepted -> out_valid
/// Throughput  STEPS cycles a word: PIXELS * TIME_STEPS * STEPS cycles an image, at least CLASSES + 2
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       CLASSES accumulators of LOGIT_BITS; place in the image; the arg-max so far
/// Memory      BIAS_FILE.mem: CLASSES biases (T times the bias of a step); weights as mac_array, group list as
///             synapse_list, address j*PIXELS + pixel
/// Golden      quant/golden/readout.py
module readout #(
  parameter int unsigned CHANNELS,
  parameter int unsigned CLASSES,
  parameter int unsigned SIMD,
  parameter int unsigned STEPS,
  parameter int unsigned PIXELS,
  parameter int unsigned TIME_STEPS,
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned LOGIT_BITS,
  parameter LIST_FILE,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  localparam int unsigned CLASS_BITS = CLASSES > 1 ? $clog2(CLASSES) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CLASSES*LOGIT_BITS+CLASS_BITS-1:0] out_data
);
  localparam int unsigned K_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  localparam int unsigned DEPTH = PIXELS * STEPS;
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;

  // --- the word's place in the image
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

  logic synapse_valid, synapse_ready, sum_valid, sum_ready;
  logic [SIMD*(1+ADDR_BITS):0] synapse_data;
  logic [CLASSES-1:0][LOGIT_BITS-1:0] sum_data;

  synapse_list #(
    .CHANNELS(CHANNELS), .SIMD(SIMD), .IN_BITS(1), .KERNEL(PIXELS), .FOLDS(1), .STEPS(STEPS), .LIST_FILE(LIST_FILE)
  ) scheduler (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready),
    .in_data({last_pixel && last_t, pixel, in_data}),
    .out_valid(synapse_valid), .out_ready(synapse_ready), .out_data(synapse_data)
  );

  mac_array #(
    .PE(CLASSES), .SIMD(SIMD), .IN_BITS(1), .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(LOGIT_BITS), .DEPTH(DEPTH),
    .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(synapse_valid), .in_ready(synapse_ready), .in_data(synapse_data),
    .out_valid(sum_valid), .out_ready(sum_ready), .out_data(sum_data)
  );

  // --- bias and arg-max: the logits turn in a ring, one class a cycle, and come to rest where they began
  logic [CLASSES-1:0][LOGIT_BITS-1:0] bias [1];
  initial $readmemh({BIAS_FILE, ".mem"}, bias);

  logic [CLASSES-1:0][LOGIT_BITS-1:0] logit;
  logic [LOGIT_BITS-1:0] best;
  logic [CLASS_BITS-1:0] index, best_index;
  logic searching;
  wire [LOGIT_BITS-1:0] candidate = logit[0];
  assign sum_ready = !searching && !out_valid;  // registers only: the ready path ends here
  always_ff @(posedge clk) begin
    if (sum_valid && sum_ready) begin
      for (int c = 0; c < CLASSES; c++) logit[c] <= sum_data[c] + bias[0][c];
    end else if (searching) begin
      for (int c = 0; c < CLASSES; c++) logit[c] <= logit[(c+1)%CLASSES];
      if (index == '0 || $signed(candidate) > $signed(best)) begin
        best <= candidate;
        best_index <= index;
      end
    end
    if (!rst_n) begin
      searching <= 1'b0;
      out_valid <= 1'b0;
      index <= '0;
    end else begin
      if (sum_valid && sum_ready) searching <= 1'b1;
      else if (searching && index == CLASS_BITS'(CLASSES - 1)) searching <= 1'b0;
      if (searching) index <= index == CLASS_BITS'(CLASSES - 1) ? '0 : index + 1'b1;
      if (searching && index == CLASS_BITS'(CLASSES - 1)) out_valid <= 1'b1;
      else if (out_ready) out_valid <= 1'b0;
    end
  end
  assign out_data = {best_index, logit};
endmodule
