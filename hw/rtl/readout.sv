/// readout - integrates spikes into logits without firing, one synapse step a cycle for all classes at once.
///   logit[c] = bias[c] + sum over the steps of an image and lanes of  weights[addr][c] * act
///   class    = arg-max, lowest index
/// Beat        in: SIMD act, SIMD addr, last (of an image); out, one an image: CLASSES logits, class above them
/// Latency     4 + ceil(log2(SIMD)) + CLASSES cycles, an image's last step accepted -> out_valid
/// Throughput  1 step/cycle; at least CLASSES + 2 cycles an image
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       CLASSES accumulators of LOGIT_BITS; the arg-max so far
/// Memory      BIAS_FILE.mem: CLASSES biases (T times the bias of a step); weights as mac_array
/// Golden      quant/golden/readout.py
module readout #(
  parameter int unsigned CLASSES,
  parameter int unsigned SIMD,
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned LOGIT_BITS,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1,
  localparam int unsigned CLASS_BITS = CLASSES > 1 ? $clog2(CLASSES) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(1+ADDR_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CLASSES*LOGIT_BITS+CLASS_BITS-1:0] out_data
);
  logic sum_valid, sum_ready;
  logic [CLASSES-1:0][LOGIT_BITS-1:0] sum_data;

  mac_array #(
    .PE(CLASSES), .SIMD(SIMD), .IN_BITS(1), .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(LOGIT_BITS), .DEPTH(DEPTH),
    .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
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
