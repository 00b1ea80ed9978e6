/// event_window - from a raster of word flags to one descriptor a window: which of its words hold an event.
///   out flag[b][k] = in[pixel(p, k), t][b], 0 where k lies in the padding, for each output pixel p and t
/// Beat        in: SIMD flags a (pixel, t); out: SIMD x KERNEL flags, then the place of the window's top left word:
///             t, column, row, modulo powers of two (negative in the padding); flags lowest
/// Order       in: pixel raster, then t; out: output pixel raster, then t
/// Latency     6 cycles, newest beat a window needs accepted -> out_valid. A window that hangs over the right edge also
///             waits for the beat of the row below that follows it in the raster (not in the last row of windows)
/// Throughput  1 beat/cycle in while there is room; a column and t a cycle. Each ends a window, but STRIDE_W - 1 columns
///             a window and KERNEL_W - 1 - PADDING_W an image (those of the other rows of windows pass with the columns
///             beyond the right edge, as far as there are any): AHEAD windows wait in a queue to hide these
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       a ring of ROWS rows of flags. A row is free 2 cycles after a window below it has been taken from out
/// Golden      quant/golden/event_window.py
module event_window #(
  parameter int unsigned SIMD,
  parameter int unsigned HEIGHT,      // of the input map
  parameter int unsigned WIDTH,
  parameter int unsigned KERNEL_H,
  parameter int unsigned KERNEL_W,
  parameter int unsigned STRIDE_H,
  parameter int unsigned STRIDE_W,
  parameter int unsigned PADDING_H,
  parameter int unsigned PADDING_W,
  parameter int unsigned TIME_STEPS,  // beats a pixel
  localparam int unsigned KERNEL = KERNEL_H * KERNEL_W,
  localparam int unsigned OUT_H = (HEIGHT + 2 * PADDING_H - KERNEL_H) / STRIDE_H + 1,
  localparam int unsigned NEXT_IMAGE = HEIGHT - (OUT_H - 1) * STRIDE_H,  // rows from the last windows to the next image's
  localparam int unsigned ROWS = 2 ** $clog2(KERNEL_H + (NEXT_IMAGE > STRIDE_H ? NEXT_IMAGE : STRIDE_H)),
  localparam int unsigned R_BITS = $clog2(ROWS),
  localparam int unsigned C_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1,
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1,
  localparam int unsigned PLACE_BITS = R_BITS + C_BITS + T_BITS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD-1:0] in_data,
  output logic [PLACE_BITS-1:0] in_place,  // where the beat's word belongs
  output logic out_valid,
  input  logic out_ready,
  output logic [PLACE_BITS+SIMD*KERNEL-1:0] out_data
);
  localparam int unsigned AHEAD = 16;
  localparam int unsigned OUT_W = (WIDTH + 2 * PADDING_W - KERNEL_W) / STRIDE_W + 1;
  // steps of a row of windows: at step s column s comes in; windows leave from step LEAD on, the last at LAST.
  // The steps beyond the map's right edge take in nothing: MERGE of them are also the first of the next row.
  localparam int unsigned LEAD = KERNEL_W - 1 - PADDING_W;
  localparam int unsigned LAST = (OUT_W - 1) * STRIDE_W + LEAD;
  localparam int unsigned OVER = LAST + 1 > WIDTH ? LAST + 1 - WIDTH : 0;
  localparam int unsigned LESS = OVER < LEAD ? OVER : LEAD;
  localparam int unsigned MERGE = LESS < (LAST + 1) / 2 ? LESS : (LAST + 1) / 2;
  localparam int LAST_X = int'((OUT_W - 1) * STRIDE_W) - int'(PADDING_W);
  localparam int unsigned S_BITS = LAST >= WIDTH ? $clog2(LAST + 1) : C_BITS;
  localparam int unsigned X_BITS = $clog2(WIDTH + KERNEL_W) + 2;
  localparam int unsigned Y_BITS = OUT_H > 1 ? $clog2(OUT_H) : 1;
  localparam int unsigned P_BITS = STRIDE_W > 1 ? $clog2(STRIDE_W) : 1;

  if (2 * PADDING_H > KERNEL_H || PADDING_W >= KERNEL_W) begin : chk_padding
    $error("event_window: PADDING_H=%0d, PADDING_W=%0d must be at most half of the kernel's height, and below its width: ",
           PADDING_H, PADDING_W, "%0dx%0d", KERNEL_H, KERNEL_W);
  end
  if (HEIGHT + 2 * PADDING_H < KERNEL_H || WIDTH + 2 * PADDING_W < KERNEL_W) begin : chk_shape
    $error("event_window: a %0dx%0d kernel does not fit the map", KERNEL_H, KERNEL_W);
  end

  typedef logic [R_BITS:0] row_t;  // a row number modulo twice the ring
  typedef logic [C_BITS-1:0] col_t;
  typedef logic [T_BITS-1:0] t_t;
  typedef logic [S_BITS-1:0] step_t;
  typedef logic signed [X_BITS-1:0] x_t;  // a column, negative in the padding
  typedef logic [Y_BITS-1:0] y_t;

  // --- in: where a beat's flags belong in the ring; no beat is written where one is read ----------------------------
  row_t wr_row, line;  // row being written; oldest row still needed
  col_t wr_col;
  t_t wr_t;

  wire wr_last_t = wr_t == t_t'(TIME_STEPS - 1);
  wire wr_last_col = wr_col == col_t'(WIDTH - 1);
  // flags are told from words by logic, and the ring is far away: a register between them
  logic pushed;
  row_t had_row;
  col_t had_col;
  t_t had_t;
  logic [SIMD-1:0] had_data;
  wire push = in_valid && in_ready;
  wire push_row = push && wr_last_t && wr_last_col;
  row_t next_row;
  assign next_row = wr_row + 1'b1;
  assign in_place = {wr_row[R_BITS-1:0], wr_col, wr_t};
  always_ff @(posedge clk) begin
    had_data <= in_data;
    if (!rst_n) {pushed, had_row, had_col, had_t} <= '0;
    else {pushed, had_row, had_col, had_t} <= {push, wr_row, wr_col, wr_t};
    if (!rst_n) begin
      {wr_row, wr_col, wr_t} <= '0;
      in_ready <= 1'b1;
    end else begin
      if (push) wr_t <= wr_last_t ? '0 : wr_t + 1'b1;
      if (push && wr_last_t) wr_col <= wr_last_col ? '0 : wr_col + 1'b1;
      if (push_row) wr_row <= next_row;
      // whether the row to be written next is free, a cycle ahead: ready paths begin here
      in_ready <= (push_row ? next_row : wr_row) != (line ^ row_t'(ROWS));
    end
  end

  // --- the steps: column s and t of the rows from `top` on; x is the left column of the next window ----------------
  row_t top, need;  // first row of the windows; newest row they need
  y_t y;
  step_t s;
  t_t t;
  x_t x;
  logic prior;  // the steps before MERGE also emit the last windows of the row above
  logic [P_BITS-1:0] phase;  // steps until the next window

  function automatic row_t newest(input y_t row);  // rows from `top` to the newest one needed
    newest = row_t'(KERNEL_H - 1);
    for (int unsigned i = 0; i < OUT_H; i++) begin
      automatic int unsigned below = HEIGHT + PADDING_H - i * STRIDE_H;  // rows from there to the end of the map
      if (row == y_t'(i) && below < KERNEL_H) newest = row_t'(below - 1);
    end
  endfunction
  wire last_y = y == y_t'(OUT_H - 1);
  wire last_t = t == t_t'(TIME_STEPS - 1);
  wire last_s = s == (last_y ? step_t'(LAST) : step_t'(LAST - MERGE));
  wire last_x = x == x_t'(LAST_X);
  wire own = (LEAD == 0 || s >= step_t'(LEAD)) && phase == '0;
  logic late;  // emits a window of the row above
  always_comb begin
    late = 1'b0;
    for (int i = 0; i < int'(MERGE); i++) begin
      late |= prior && s == step_t'(i) && (int'(MERGE) - 1 - i) % int'(STRIDE_W) == 0;
    end
  end

  row_t lead;
  assign lead = had_row - need;
  wire there = lead == '0 ? {s, t} < {step_t'(had_col), had_t} : !lead[R_BITS] || lead[R_BITS-1:0] == '0;
  logic room;  // in the queue, for the window of this step
  wire go = there && room;
  row_t next_top;
  y_t next_y;
  assign next_y = last_y ? '0 : y + 1'b1;
  assign next_top = top + (last_y ? row_t'(NEXT_IMAGE) : row_t'(STRIDE_H));
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      top <= -row_t'(PADDING_H);
      need <= newest('0) - row_t'(PADDING_H);
      {y, s, t, prior} <= '0;
      phase <= P_BITS'(LEAD % STRIDE_W);
      x <= -x_t'(PADDING_W);
    end else if (go) begin
      t <= last_t ? '0 : t + 1'b1;
      if (last_t) begin
        s <= last_s ? '0 : s + 1'b1;
        phase <= last_s ? P_BITS'(LEAD % STRIDE_W) : phase == '0 ? P_BITS'(STRIDE_W - 1) : phase - 1'b1;
        if (own || late) x <= last_x ? -x_t'(PADDING_W) : x + x_t'(STRIDE_W);
        if (last_s) begin
          y <= next_y;
          top <= next_top;
          need <= next_top + newest(next_y);
          prior <= MERGE > 0 && !last_y;
        end
      end
    end
  end

  // --- 1: the read; 2: a register behind it; 3: the newest column of the window, in front of the older ones ----------
  // the pipeline runs free: a step enters it against a place in the queue at its end
  logic [ROWS-1:0][SIMD-1:0] read_1, read_2;
  // rows of a memory: a byte each, and no more of these than a side of a block RAM has, as only then it has the register
  localparam int unsigned SPAN = SIMD <= 9 ? 2 : 1;
  for (genvar r = 0; r < ROWS; r += SPAN) begin : part
    (* no_rw_check, ram_style = C_BITS + T_BITS > 4 ? "block" : "auto" *)
    logic [SPAN-1:0][SIMD-1:0] ring [2**(C_BITS+T_BITS)];
    always_ff @(posedge clk) begin
      for (int i = 0; i < SPAN; i++) begin
        if (pushed && had_row[R_BITS-1:0] == R_BITS'(r + i)) ring[{had_col, had_t}][i] <= had_data;
      end
      read_1[r+:SPAN] <= ring[{col_t'(s), t}];
    end
  end
  logic valid_1, valid_2, emit_1, emit_2, emit_3;
  logic late_1;
  y_t y_1;
  x_t x_1;
  row_t top_1, row_2, row_3;  // of the read's rows, of the window's
  col_t col_2, col_3;
  t_t t_1, t_2, t_3;
  logic [KERNEL_H-1:0][R_BITS-1:0] slot_2;  // of the read's rows
  // rows of the read that are in the map; columns of the window that are left of the map's right and left edge
  logic [KERNEL_H-1:0] inside_y, inside_y_2;
  logic [KERNEL_W-1:0] inside_r, inside_r_2, inside_r_3, inside_l, inside_l_2;
  logic [KERNEL_H-1:0][SIMD-1:0] column [(KERNEL_W-1)*TIME_STEPS+1];
  always_comb begin
    for (int k = 0; k < int'(KERNEL_W); k++) begin
      inside_l[k] = k >= int'(PADDING_W) || x_1 >= -x_t'(k);
      inside_r[k] = LAST_X + k < int'(WIDTH) || x_1 < x_t'(WIDTH) - x_t'(k);
    end
    inside_y = '1;
    for (int i = 0; i < int'(OUT_H); i++) begin
      for (int k = 0; k < int'(KERNEL_H); k++) begin
        automatic int at = i * int'(STRIDE_H) + k - int'(PADDING_H);
        if (y_1 == y_t'(i) && (at < 0 || at >= int'(HEIGHT))) inside_y[k] = 1'b0;
      end
    end
  end
  always_ff @(posedge clk) begin
    {late_1, top_1, y_1, x_1, t_1} <= {late, top, y, x, t};

    read_2 <= read_1;
    {row_2, col_2, t_2} <= {late_1 ? top_1 - row_t'(STRIDE_H) : top_1, col_t'(x_1), t_1};
    {inside_y_2, inside_l_2, inside_r_2} <= {inside_y, inside_l, inside_r};
    for (int k = 0; k < KERNEL_H; k++) slot_2[k] <= top_1[R_BITS-1:0] + R_BITS'(k);

    {row_3, col_3, t_3, inside_r_3} <= {row_2, col_2, t_2, inside_r_2};
    if (valid_2) begin
      for (int k = 0; k < KERNEL_H; k++) column[0][k] <= inside_y_2[k] ? read_2[slot_2[k]] : '0;
      for (int i = 1; i <= (KERNEL_W - 1) * TIME_STEPS; i++) begin
        // what lies beyond the left edge is of no further use; beyond the right edge is a column of the next row
        column[i] <= i % TIME_STEPS == 0 && !inside_l_2[KERNEL_W-1-i/TIME_STEPS] ? '0 : column[i-1];
      end
    end
    if (!rst_n) {valid_1, emit_1, valid_2, emit_2, emit_3} <= '0;
    else {valid_1, emit_1, valid_2, emit_2, emit_3} <= {go, go && (own || late), valid_1, emit_1, emit_2};
  end

  // --- out -------------------------------------------------------------------------------------------------------
  logic [SIMD-1:0][KERNEL-1:0] flags;
  always_comb begin
    for (int b = 0; b < SIMD; b++) begin
      for (int k = 0; k < KERNEL; k++) begin
        flags[b][k] = inside_r_3[k%KERNEL_W] && column[(KERNEL_W-1-k%KERNEL_W)*TIME_STEPS][k/KERNEL_W][b];
      end
    end
  end
  logic unused_queue_ready;  // always high: that is what the places are counted for
  logic [PLACE_BITS+SIMD*KERNEL:0] queue_data;
  stream_fifo #(.WIDTH(PLACE_BITS + SIMD * KERNEL + 1), .DEPTH(AHEAD)) queue (
    .clk(clk), .rst_n(rst_n), .in_valid(emit_3), .in_ready(unused_queue_ready), .in_data({row_3, col_3, t_3, flags}),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(queue_data)
  );
  assign out_data = queue_data[PLACE_BITS+SIMD*KERNEL-1:0];

  logic [$clog2(AHEAD+1)-1:0] places;  // of the queue, neither taken nor on their way to be
  wire spent = go && (own || late);
  wire returned = out_valid && out_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      places <= ($clog2(AHEAD + 1))'(AHEAD);
      room <= 1'b1;
    end else begin
      if (spent != returned) places <= spent ? places - 1'b1 : places + 1'b1;
      room <= returned || places > (spent ? 1 : 0);
    end
    if (!rst_n) line <= -row_t'(PADDING_H);
    else if (returned) line <= queue_data[SIMD*KERNEL+C_BITS+T_BITS+:R_BITS+1];
  end
endmodule
