/// window_row - puts the words of a row of kernel positions side by side, and in each the channels that share a look-up.
///   out[g][i][c] = in[pixel (y, ox * STRIDE - PADDING + i), t][g * GROUP + c] for each row y of the map and each column
///   ox of windows; 0 where that lies beyond the map's edge, or beyond KEPT
/// Beat        in: COLUMNS neighbouring pixels of CHANNELS activations of IN_BITS, left one lowest, of which the first
///             KEPT channels count; out: GROUPS = ceil(KEPT / GROUP) groups of KERNEL_W x GROUP activations, c lowest
/// Order       in: pixel raster, then t; out: row of the map, column of windows, t
/// Latency     1 cycle, the beat with a row's last column -> out_valid
/// Throughput  1 beat/cycle in while out_ready, but OVER * TIME_STEPS cycles more behind the last row of an image in
///             which the windows over the right edge leave. Those of the other rows leave with the first beats of the
///             next one, of which no window is complete; where these are too few, all rows are followed so
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       the KERNEL_W - 1 columns before, of each t, and the beat that leaves
/// Golden      quant/golden/window_row.py
module window_row #(
  parameter int unsigned CHANNELS,
  parameter int unsigned KEPT,
  parameter int unsigned GROUP,       // channels
  parameter int unsigned IN_BITS,
  parameter int unsigned HEIGHT,      // of the map
  parameter int unsigned WIDTH,
  parameter int unsigned KERNEL_W,
  parameter int unsigned STRIDE,      // of columns
  parameter int unsigned PADDING,
  parameter int unsigned TIME_STEPS,  // beats a pixel
  parameter int unsigned COLUMNS,     // pixels a beat, a divisor of STRIDE and of WIDTH
  localparam int unsigned GROUPS = (KEPT + GROUP - 1) / GROUP
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [COLUMNS*CHANNELS*IN_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [GROUPS*KERNEL_W*GROUP*IN_BITS-1:0] out_data
);
  localparam int unsigned OUT_W = (WIDTH + 2 * PADDING - KERNEL_W) / STRIDE + 1;
  // steps of a row: at step s its columns from s * COLUMNS on come in, as far as there are any. A window's last column
  // is number OFFSET of its step; the first window leaves at step LEAD, each further one EVERY steps later
  localparam int unsigned TAKES = WIDTH / COLUMNS;
  localparam int unsigned EVERY = STRIDE / COLUMNS;
  localparam int unsigned LEAD = (KERNEL_W - 1 - PADDING) / COLUMNS;
  localparam int unsigned OFFSET = (KERNEL_W - 1 - PADDING) % COLUMNS;
  localparam int unsigned LAST = (OUT_W - 1) * EVERY + LEAD;
  localparam int unsigned OVER = LAST + 1 > TAKES ? LAST + 1 - TAKES : 0;
  localparam int unsigned MERGE = OVER <= LEAD ? OVER : 0;  // steps that are also the first of the next row
  localparam int unsigned STEPS = TAKES + OVER;
  localparam int unsigned HELD = KERNEL_W - 1 - OFFSET;  // columns before the beat's that a window spans
  localparam int unsigned S_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  localparam int unsigned Y_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1;
  localparam int unsigned P_BITS = EVERY > 1 ? $clog2(EVERY) : 1;

  if (COLUMNS < 1 || STRIDE % COLUMNS != 0 || WIDTH % COLUMNS != 0) begin : chk_columns
    $error("window_row: COLUMNS=%0d must divide STRIDE=%0d and WIDTH=%0d", COLUMNS, STRIDE, WIDTH);
  end
  if (KEPT < 1 || KEPT > CHANNELS || GROUP < 1) begin : chk_channels
    $error("window_row: KEPT=%0d must be 1 to CHANNELS=%0d, GROUP=%0d at least 1", KEPT, CHANNELS, GROUP);
  end
  if (PADDING >= KERNEL_W || WIDTH + 2 * PADDING < KERNEL_W) begin : chk_shape
    $error("window_row: PADDING=%0d must be below KERNEL_W=%0d, which must fit the map", PADDING, KERNEL_W);
  end

  typedef logic [S_BITS-1:0] step_t;
  typedef logic [T_BITS-1:0] t_t;
  typedef logic [Y_BITS-1:0] y_t;
  typedef logic [P_BITS-1:0] phase_t;
  typedef logic [KEPT*IN_BITS-1:0] word_t;

  // --- the steps ---------------------------------------------------------------------------------------------------
  step_t s;
  t_t t;
  y_t y;
  phase_t phase;  // steps until the next window of the row is complete
  logic prior;    // the steps before MERGE complete the last windows of the row above
  wire enable = !out_valid || out_ready;
  wire takes = OVER == 0 || s < step_t'(TAKES);
  wire go = enable && (in_valid || !takes);
  assign in_ready = enable && takes;

  wire last_y = y == y_t'(HEIGHT - 1);
  wire last_t = TIME_STEPS == 1 || t == t_t'(TIME_STEPS - 1);
  wire last_s = s == (MERGE == 0 || last_y ? step_t'(STEPS - 1) : step_t'(STEPS - 1 - MERGE));
  wire own = (LEAD == 0 || s >= step_t'(LEAD)) && phase == '0;
  logic late;
  always_comb begin
    late = 1'b0;
    for (int i = 0; i < int'(MERGE); i++) begin
      late |= prior && s == step_t'(i) && (int'(MERGE) - 1 - i) % int'(EVERY) == 0;
    end
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {s, t, y, prior} <= '0;
      phase <= phase_t'(LEAD % EVERY);
    end else if (go) begin
      t <= last_t ? '0 : t + 1'b1;
      if (last_t) begin
        s <= last_s ? '0 : s + 1'b1;
        phase <= last_s ? phase_t'(LEAD % EVERY) : phase == '0 ? phase_t'(EVERY - 1) : phase - 1'b1;
        if (last_s) begin
          y <= last_y ? '0 : y + 1'b1;
          prior <= MERGE > 0 && !last_y;
        end
      end
    end
  end

  // --- the columns of the window that is complete with this step, left one first -----------------------------------
  word_t [COLUMNS-1:0] fresh;
  for (genvar i = 0; i < COLUMNS; i++) begin : of_beat
    assign fresh[i] = in_data[i*CHANNELS*IN_BITS+:KEPT*IN_BITS];
  end
  word_t [KERNEL_W-1:0] span;
  if (HELD == 0) begin : beat_only
    assign span = fresh[OFFSET:0];
  end else begin : with_past
    word_t [HELD-1:0] past [TIME_STEPS];  // of each t in turn, [0] the newest
    word_t [HELD+COLUMNS-1:0] line;
    assign line = {fresh, past[TIME_STEPS-1]};
    assign span = line[HELD+OFFSET:0];
    always_ff @(posedge clk) begin
      // the reset keeps them in flip-flops, which cost nothing beside the LUTs of a shift register
      if (!rst_n) for (int i = 0; i < TIME_STEPS; i++) past[i] <= '0;
      else if (go) begin
        past[0] <= line[HELD+COLUMNS-1:COLUMNS];
        for (int i = 1; i < TIME_STEPS; i++) past[i] <= past[i-1];
      end
    end
  end
  // which of them are in the map: not the first ones of the windows at its left edge, and the last ones at its right
  logic [KERNEL_W-1:0] in_map;
  always_comb begin
    in_map = '1;
    for (int at = int'(LEAD); at <= int'(LAST); at++) begin  // the step of its row with which a window leaves
      automatic int again = at - int'(STEPS - MERGE);  // the same one, in the row below
      automatic int first = at * int'(COLUMNS) + int'(OFFSET) - int'(KERNEL_W) + 1;
      for (int i = 0; i < int'(KERNEL_W); i++) begin
        if (first + i < 0 && s == step_t'(at)) in_map[i] = 1'b0;
        if (first + i >= int'(WIDTH) && (late ? again >= 0 && s == step_t'(again) : s == step_t'(at))) in_map[i] = 1'b0;
      end
    end
  end

  // --- out ---------------------------------------------------------------------------------------------------------
  logic [GROUPS-1:0][KERNEL_W-1:0][GROUP-1:0][IN_BITS-1:0] groups;
  for (genvar g = 0; g < GROUPS; g++) begin : of_group
    for (genvar i = 0; i < KERNEL_W; i++) begin : position
      for (genvar c = 0; c < GROUP; c++) begin : channel
        if (g * GROUP + c < KEPT) begin : present
          assign groups[g][i][c] = in_map[i] ? span[i][(g*GROUP+c)*IN_BITS+:IN_BITS] : '0;
        end else begin : absent
          assign groups[g][i][c] = '0;
        end
      end
    end
  end
  always_ff @(posedge clk) begin
    if (enable) out_data <= groups;
    if (!rst_n) out_valid <= 1'b0;
    else if (enable) out_valid <= go && (own || late);
  end
  wire unused = &{1'b0, in_data, fresh};  // pruned channels, columns of no window
endmodule
