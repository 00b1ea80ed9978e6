/// spike_sum - sum-pooling: the sum over SIZE x SIZE pixels, stride SIZE, remainder rows and columns dropped.
///   out[oy, ox, t, c] = sum over dy, dx < SIZE of in[oy*SIZE + dy, ox*SIZE + dx, t, c]
/// Beat        in: CHANNELS x IN_BITS, unsigned, pixels in raster order, then t; out: CHANNELS x OUT_BITS of the pooled
///             map, the same
/// Latency     2 cycles, last beat of a window accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       one row of pooled pixels: WIDTH/SIZE * TIME_STEPS words of sums, synchronous read
/// Golden      quant/golden/spike_sum.py
module spike_sum #(
  parameter int unsigned CHANNELS,
  parameter int unsigned IN_BITS,
  parameter int unsigned OUT_BITS,   // must hold a window of the largest numbers
  parameter int unsigned HEIGHT,     // of the map that comes in
  parameter int unsigned WIDTH,
  parameter int unsigned SIZE,       // pixels of a window, each way
  parameter int unsigned TIME_STEPS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS*IN_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CHANNELS*OUT_BITS-1:0] out_data
);
  if (CHANNELS < 1 || IN_BITS < 1 || TIME_STEPS < 1 || SIZE < 1) begin : chk_shape
    $error("spike_sum: CHANNELS=%0d, IN_BITS=%0d, TIME_STEPS=%0d, SIZE=%0d must be at least 1", CHANNELS, IN_BITS,
           TIME_STEPS, SIZE);
  end else if (HEIGHT < SIZE || WIDTH < SIZE) begin : chk_map
    $error("spike_sum: the map %0d x %0d is smaller than SIZE=%0d", HEIGHT, WIDTH, SIZE);
  end else if (OUT_BITS < $clog2(SIZE * SIZE * (2 ** IN_BITS - 1) + 1)) begin : chk_bits
    $error("spike_sum: OUT_BITS=%0d must hold SIZE=%0d squared times the largest number of IN_BITS=%0d", OUT_BITS, SIZE,
           IN_BITS);
  end

  localparam int unsigned DEPTH = WIDTH / SIZE * TIME_STEPS;
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  localparam int unsigned X_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1;
  localparam int unsigned Y_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1;
  localparam int unsigned D_BITS = SIZE > 1 ? $clog2(SIZE) : 1;
  localparam int unsigned USED_X = WIDTH / SIZE * SIZE;

  wire enable = !out_valid || out_ready;
  wire take = in_valid && enable;
  assign in_ready = enable;

  // --- where the beat stands: pixel (x, y), step t, (dx, dy) within its window, base = its window's first word ------
  logic [T_BITS-1:0] t;
  logic [X_BITS-1:0] x;
  logic [Y_BITS-1:0] y;
  logic [D_BITS-1:0] dx, dy;
  logic [ADDR_BITS-1:0] base;
  wire last_t = t == T_BITS'(TIME_STEPS - 1);
  wire last_x = x == X_BITS'(WIDTH - 1);
  wire last_y = y == Y_BITS'(HEIGHT - 1);
  wire last_dx = dx == D_BITS'(SIZE - 1);
  wire last_dy = dy == D_BITS'(SIZE - 1);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      t <= '0;
      x <= '0;
      y <= '0;
      dx <= '0;
      dy <= '0;
      base <= '0;
    end else if (take) begin
      t <= last_t ? '0 : t + 1'b1;
      if (last_t) begin
        x <= last_x ? '0 : x + 1'b1;
        dx <= last_x || last_dx ? '0 : dx + 1'b1;
        if (last_x) base <= '0;
        else if (last_dx) base <= base + ADDR_BITS'(TIME_STEPS);  // past the last window: never used
        if (last_x) begin
          y <= last_y ? '0 : y + 1'b1;
          dy <= last_y || last_dy ? '0 : dy + 1'b1;
        end
      end
    end
  end

  // --- stage 1: the beat beside what its window holds so far; stage 2: their sum, into the row and out ---------------
  typedef logic [CHANNELS-1:0][OUT_BITS-1:0] sums_t;
  (* no_rw_check *) sums_t row [DEPTH];  // a word read while written is not used: see `again`
  sums_t held, earlier, merged;
  logic [CHANNELS-1:0][IN_BITS-1:0] beat;
  logic [ADDR_BITS-1:0] addr_1;
  logic valid, first_1, last_1, again_1;
  wire [ADDR_BITS-1:0] addr = base + ADDR_BITS'(t);
  // remainder columns must leave the row alone; remainder rows cannot complete a window, and the next map starts anew
  wire used = USED_X == WIDTH || x < X_BITS'(USED_X);

  // `again`: the beat just before was of the same word, which is not in the row yet but in out_data
  assign earlier = first_1 ? '0 : again_1 ? out_data : held;
  always_comb begin
    for (int c = 0; c < CHANNELS; c++) merged[c] = earlier[c] + OUT_BITS'(beat[c]);
  end

  always_ff @(posedge clk) begin
    if (enable) begin
      held <= row[addr];
      if (valid && !last_1) row[addr_1] <= merged;
      beat <= in_data;
      addr_1 <= addr;
      first_1 <= dx == '0 && dy == '0;
      last_1 <= last_dx && last_dy;
      again_1 <= valid && addr_1 == addr;
      out_data <= merged;
    end
    if (!rst_n) begin
      valid <= 1'b0;
      out_valid <= 1'b0;
    end else if (enable) begin
      valid <= in_valid && used;
      out_valid <= valid && last_1;
    end
  end
endmodule
