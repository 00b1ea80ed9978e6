/// spike_pool - max-pooling of spikes: the OR over SIZE x SIZE pixels, stride SIZE, remainder rows and columns dropped.
///   out[oy, ox, t] = OR over dy, dx < SIZE of in[oy*SIZE + dy, ox*SIZE + dx, t]
/// Beat        CHANNELS spikes; in: pixels in raster order, then t; out: the same of the pooled map
/// Latency     2 cycles, last beat of a window accepted -> out_valid
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       one row of pooled pixels: WIDTH/SIZE * TIME_STEPS words, synchronous read
/// Golden      quant/golden/spike_pool.py
module spike_pool #(
  parameter int unsigned CHANNELS,
  parameter int unsigned HEIGHT,     // of the map that comes in
  parameter int unsigned WIDTH,
  parameter int unsigned SIZE,       // pixels of a window, each way
  parameter int unsigned TIME_STEPS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CHANNELS-1:0] out_data
);
  if (CHANNELS < 1 || TIME_STEPS < 1 || SIZE < 1) begin : chk_shape
    $error("spike_pool: CHANNELS=%0d, TIME_STEPS=%0d, SIZE=%0d must be at least 1", CHANNELS, TIME_STEPS, SIZE);
  end else if (HEIGHT < SIZE || WIDTH < SIZE) begin : chk_map
    $error("spike_pool: the map %0d x %0d is smaller than SIZE=%0d", HEIGHT, WIDTH, SIZE);
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

  // --- stage 1: the beat beside what its window holds so far; stage 2: their OR, into the row and out ----------------
  (* no_rw_check *) logic [CHANNELS-1:0] row [DEPTH];  // a word read while written is not used: see `again`
  logic [CHANNELS-1:0] held, beat, merged;
  logic [ADDR_BITS-1:0] addr_1;
  logic valid, first_1, last_1, again_1;
  wire [ADDR_BITS-1:0] addr = base + ADDR_BITS'(t);
  // remainder columns must leave the row alone; remainder rows cannot complete a window, and the next map starts anew
  wire used = USED_X == WIDTH || x < X_BITS'(USED_X);

  // `again`: the beat just before was of the same word, which is not in the row yet but in out_data
  assign merged = beat | (first_1 ? '0 : again_1 ? out_data : held);

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
