/// readout - integrates spikes into logits without firing, one synapse step a cycle for all classes at once.
///   logit[c] = bias[c] + sum over the steps of an image and lanes of  weights[addr][c] * act
///              IN_BITS > 1: of  weights[{addr, act}][c], the sums that stand for each pattern of spikes; 0 for none
///   class    = arg-max, lowest index
/// Beat        in: SIMD act, SIMD addr, last (of an image); out, one an image: CLASSES logits, class above them
/// Latency     4 + ceil(log2(SIMD)) + CLASSES cycles, an image's last step accepted -> out_valid; a pattern's 1 more
/// Throughput  1 step/cycle; at least CLASSES + 2 cycles an image
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       CLASSES accumulators of LOGIT_BITS; the arg-max so far
/// Memory      BIAS_FILE.mem: CLASSES biases (T times the bias of a step); weights as mac_array
/// Golden      quant/golden/readout.py
module readout #(
  parameter int unsigned CLASSES,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,     // 1: spikes; more: patterns of spikes
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned LOGIT_BITS,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  localparam int unsigned WORDS = IN_BITS > 1 ? DEPTH >> IN_BITS : DEPTH,  // that addr tells apart
  localparam int unsigned ADDR_BITS = WORDS > 1 ? $clog2(WORDS) : 1,
  localparam int unsigned CLASS_BITS = CLASSES > 1 ? $clog2(CLASSES) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CLASSES*LOGIT_BITS+CLASS_BITS-1:0] out_data
);
  localparam int unsigned TURN_BITS = $clog2(CLASSES + 1);

  logic sum_valid, sum_ready;
  logic [CLASSES-1:0][LOGIT_BITS-1:0] sum_data;

  mac_array #(
    .PE(CLASSES), .SIMD(SIMD), .IN_BITS(IN_BITS), .LOOKUP(IN_BITS > 1 ? 1 : 0), .PLACES(1),
    .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(LOGIT_BITS), .DEPTH(DEPTH), .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
    .out_valid(sum_valid), .out_ready(sum_ready), .out_data(sum_data)
  );

  // --- bias and arg-max: the logits turn in a ring, one class a cycle, and come to rest where they began
  // each takes its bias as it comes to place 0, and is compared there a cycle later
  logic [CLASSES-1:0][LOGIT_BITS-1:0] bias [1];
  initial $readmemh({BIAS_FILE, ".mem"}, bias);

  logic [CLASSES-1:0][LOGIT_BITS-1:0] logit;
  logic [LOGIT_BITS-1:0] best, addend;
  logic [CLASS_BITS-1:0] best_index;
  logic [TURN_BITS-1:0] turn, next_turn;  // 0: no image; else class turn - 1 is in place 0
  logic searching, first;
  wire loads = sum_valid && sum_ready;
  wire last_turn = turn == TURN_BITS'(CLASSES);
  assign next_turn = last_turn ? '0 : turn + TURN_BITS'(loads || searching);
  assign sum_ready = !searching && !out_valid;  // registers only: the ready path ends here
  always_ff @(posedge clk) begin
    addend <= next_turn == TURN_BITS'(CLASSES) ? '0 : bias[0][next_turn];  // of the class that comes to place 0 next
    if (loads || searching) begin
      for (int c = 1; c < CLASSES; c++) logit[c] <= searching ? logit[(c+1)%CLASSES] : sum_data[c];
      logit[0] <= (searching ? logit[1%CLASSES] : sum_data[0]) + addend;
    end
    first <= next_turn == TURN_BITS'(1);
    // at rest the first class stands here again, and none is above the best: nothing else gates this path
    if (first || $signed(logit[0]) > $signed(best)) begin
      best <= logit[0];
      best_index <= CLASS_BITS'(turn - 1'b1);
    end
    if (!rst_n) begin
      searching <= 1'b0;
      out_valid <= 1'b0;
      turn <= '0;
    end else begin
      if (loads) searching <= 1'b1;
      else if (last_turn) searching <= 1'b0;
      turn <= next_turn;
      if (last_turn) out_valid <= 1'b1;
      else if (out_ready) out_valid <= 1'b0;
    end
  end
  assign out_data = {best_index, logit};
endmodule
