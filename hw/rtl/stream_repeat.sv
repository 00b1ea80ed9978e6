/// stream_repeat - emits each packet of FOLDS beats TIME_STEPS times in a row (direct coding of the first layer).
///   out[p, t, f] = in[p, f]      t = 0 .. TIME_STEPS-1
/// Beat        WIDTH bits, opaque; in: order packet, fold; out: order packet, t, fold
/// Latency     1 cycle, beat accepted -> first out_valid: the first repetition passes while its packet arrives
/// Throughput  1 output beat/cycle: packet p+1 is taken in while p is repeated, FOLDS*TIME_STEPS cycles a packet
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       a ring of two packets, in LUT RAM; a packet's room is freed as a whole after its last repetition
/// Golden      quant/golden/stream_repeat.py
module stream_repeat #(
  parameter int unsigned WIDTH,
  parameter int unsigned FOLDS,      // beats of a packet
  parameter int unsigned TIME_STEPS  // repetitions
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [WIDTH-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [WIDTH-1:0] out_data
);
  if (WIDTH < 1 || FOLDS < 1 || TIME_STEPS < 1) begin : chk_shape
    $error("stream_repeat: WIDTH=%0d, FOLDS=%0d, TIME_STEPS=%0d must be at least 1", WIDTH, FOLDS, TIME_STEPS);
  end

  localparam int unsigned DEPTH = 2 * FOLDS;
  localparam int unsigned ADDR_BITS = $clog2(DEPTH);
  localparam int unsigned COUNT_BITS = $clog2(DEPTH + 1);
  localparam int unsigned FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int unsigned TIME_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;

  logic [WIDTH-1:0] memory [DEPTH];
  logic [ADDR_BITS-1:0] write, read;
  logic [COUNT_BITS-1:0] held;  // beats in the ring, those already emitted but to be repeated included
  logic [FOLD_BITS-1:0] fold;
  logic [TIME_BITS-1:0] t;

  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;
  wire last_fold = fold == FOLD_BITS'(FOLDS - 1);
  wire last_t = t == TIME_BITS'(TIME_STEPS - 1);
  wire free = pop && last_fold && last_t;

  assign in_ready = held != COUNT_BITS'(DEPTH);
  assign out_valid = held > COUNT_BITS'(fold);  // counted from the packet's first beat
  assign out_data = memory[read];

  always_ff @(posedge clk) begin
    if (push) memory[write] <= in_data;
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      write <= '0;
      read <= '0;
      held <= '0;
      fold <= '0;
      t <= '0;
    end else begin
      if (push) write <= write == ADDR_BITS'(DEPTH - 1) ? '0 : write + 1'b1;
      held <= held + COUNT_BITS'(push) - (free ? COUNT_BITS'(FOLDS) : '0);
      if (pop) begin
        fold <= last_fold ? '0 : fold + 1'b1;
        if (last_fold) t <= last_t ? '0 : t + 1'b1;
        if (last_fold && !last_t) read <= read - ADDR_BITS'(FOLDS - 1);
        else read <= read == ADDR_BITS'(DEPTH - 1) ? '0 : read + 1'b1;
      end
    end
  end
endmodule
