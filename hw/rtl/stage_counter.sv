/// stage_counter - what a stage's cycles since reset went to, told from the handshake of its synapse steps.
///   busy = cycles with valid && ready, starved = cycles with !valid, stalled = cycles with valid && !ready
///   busy + starved + stalled = cycles since reset, modulo 2^COUNTER_BITS
/// Beat        none: a listener beside a stream; counters = {stalled, starved, busy}, busy lowest
/// Latency     1 cycle: the counters tell of the cycles before this one
/// Throughput  every cycle counts in exactly one of the three
/// Handshake   none: valid and ready are only read
/// State       the three counters
/// Golden      quant/golden/stage_counter.py
module stage_counter #(
  parameter int unsigned COUNTER_BITS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic valid,
  input  logic ready,
  output logic [3*COUNTER_BITS-1:0] counters
);
  if (COUNTER_BITS < 1) begin : chk_bits
    $error("stage_counter: COUNTER_BITS=%0d must be at least 1", COUNTER_BITS);
  end

  logic [COUNTER_BITS-1:0] busy, starved, stalled;
  assign counters = {stalled, starved, busy};

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      busy <= '0;
      starved <= '0;
      stalled <= '0;
    end else if (!valid) begin
      starved <= starved + 1'b1;
    end else if (ready) begin
      busy <= busy + 1'b1;
    end else begin
      stalled <= stalled + 1'b1;
    end
  end
endmodule
