/// synapse_list - the list scheduler: walks the kept synapse groups of each window, SIMD synapses a cycle.
///   for each beat (word, k): for j in 0..STEPS-1:  act = word[group[j]],  addr = (fold*STEPS + j)*KERNEL + k
/// Beat        in: word (CHANNELS activations of IN_BITS), k, last (of a window), word lowest
///             out: SIMD act, SIMD addr (one a weight bank; channel i belongs to bank i mod SIMD), last, act lowest
/// List        STEPS group numbers, read from LIST_FILE; group g is channels g*SIMD .. g*SIMD+SIMD-1. The full list
///             is the dense schedule; a group left out costs nothing
/// Latency     2 cycles, beat accepted -> its first step on out
/// Throughput  1 step/cycle while out_ready: STEPS cycles a beat
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       one word; the fold counter, 0..FOLDS-1, one up at each window
/// Golden      quant/golden/synapse_list.py
module synapse_list #(
  parameter int unsigned CHANNELS,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned KERNEL,  // kernel positions
  parameter int unsigned FOLDS,
  parameter int unsigned STEPS,
  parameter LIST_FILE,
  localparam int unsigned K_BITS = KERNEL > 1 ? $clog2(KERNEL) : 1,
  localparam int unsigned DEPTH = FOLDS * KERNEL * STEPS,
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS*IN_BITS+K_BITS:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [SIMD*(IN_BITS+ADDR_BITS):0] out_data
);
  localparam int unsigned GROUPS = (CHANNELS + SIMD - 1) / SIMD;
  localparam int unsigned GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;

  if (STEPS < 1 || STEPS > GROUPS) begin : chk_steps
    $error("synapse_list: STEPS=%0d must be 1 to ceil(CHANNELS/SIMD)=%0d", STEPS, GROUPS);
  end

  typedef logic [ADDR_BITS-1:0] addr_t;

  logic [GROUP_BITS-1:0] list [STEPS];
  initial $readmemh({LIST_FILE, ".mem"}, list);

  logic [GROUPS-1:0][SIMD*IN_BITS-1:0] word;  // the beat being walked
  logic busy, last;
  addr_t base;                                // address of the step
  addr_t fold_base;                           // first address of the fold
  logic [STEP_BITS-1:0] step;

  wire [K_BITS-1:0] in_k = in_data[CHANNELS*IN_BITS+:K_BITS];
  wire in_last = in_data[CHANNELS*IN_BITS+K_BITS];
  wire enable = !out_valid || out_ready;
  wire done = step == STEP_BITS'(STEPS - 1);
  assign in_ready = !busy || (enable && done);

  always_ff @(posedge clk) begin
    if (in_ready) begin
      word <= (GROUPS * SIMD * IN_BITS)'(in_data[CHANNELS*IN_BITS-1:0]);
      base <= fold_base + addr_t'(in_k);
      last <= in_last;
    end else if (busy && enable) begin
      base <= base + addr_t'(KERNEL);
    end
    if (!rst_n) begin
      busy <= 1'b0;
      step <= '0;
      fold_base <= '0;
    end else begin
      if (in_ready) busy <= in_valid;
      if (busy && enable) step <= done ? '0 : step + 1'b1;
      if (in_valid && in_ready && in_last) begin
        fold_base <= fold_base == addr_t'((FOLDS - 1) * KERNEL * STEPS) ? '0 : fold_base + addr_t'(KERNEL * STEPS);
      end
    end
  end

  logic [SIMD*IN_BITS-1:0] act;
  addr_t addr;
  logic last_q;
  always_ff @(posedge clk) begin
    if (enable) begin
      act <= word[list[step]];
      addr <= base;
      last_q <= last && done;
    end
    if (!rst_n) out_valid <= 1'b0;
    else if (enable) out_valid <= busy;
  end
  assign out_data = {last_q, {SIMD{addr}}, act};
endmodule
