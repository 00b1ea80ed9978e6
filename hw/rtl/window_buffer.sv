/// window_buffer - turns a raster of pixels into the windows of a convolution; padding is never visited.
///   out = in[pixel(p, k), t]   for each output pixel p, t, fold, and kernel position k that lies inside the map
/// Beat        in: one word a (pixel, t); out: word, k, last (on the last position of a window), word lowest
/// Order       in: pixel raster, then t; out: output pixel raster, then t, then fold (replay), then k raster
/// Latency     2 cycles from the write of the newest beat a window needs to its first position on out
/// Throughput  1 beat/cycle while out_ready and the window is complete; 1 beat/cycle in while there is room
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       ring of DEPTH words, a power of two; rows are freed when the window leaves them, images follow
///             each other in the ring. No bubble between rows and images where DEPTH >= WIDTH*TIME_STEPS *
///             max(KERNEL_H + STRIDE, rows the last window row holds + rows the next image's first one needs)
/// Golden      quant/golden/window_buffer.py
module window_buffer #(
  parameter int unsigned WORD_BITS,
  parameter int unsigned HEIGHT,      // of the input map
  parameter int unsigned WIDTH,
  parameter int unsigned KERNEL_H,
  parameter int unsigned KERNEL_W,
  parameter int unsigned STRIDE,
  parameter int unsigned PADDING,
  parameter int unsigned TIME_STEPS,  // beats a pixel
  parameter int unsigned FOLDS,       // times each window is replayed
  parameter int unsigned DEPTH,
  localparam int unsigned KERNEL = KERNEL_H * KERNEL_W,
  localparam int unsigned K_BITS = KERNEL > 1 ? $clog2(KERNEL) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [WORD_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [WORD_BITS+K_BITS:0] out_data
);
  localparam int unsigned OUT_H = (HEIGHT + 2 * PADDING - KERNEL_H) / STRIDE + 1;
  localparam int unsigned OUT_W = (WIDTH + 2 * PADDING - KERNEL_W) / STRIDE + 1;
  localparam int unsigned ROW = WIDTH * TIME_STEPS;  // beats a row
  localparam int unsigned ADDR_BITS = $clog2(DEPTH);
  localparam int unsigned SPAN = (HEIGHT > WIDTH ? HEIGHT : WIDTH) + 2 * PADDING + STRIDE;
  // the first window start at or beyond the map's edge, and the distance from the last one to the next image
  localparam int unsigned CROSS = (PADDING + STRIDE - 1) / STRIDE * STRIDE - PADDING;
  localparam int LAST_Y = int'((OUT_H - 1) * STRIDE) - int'(PADDING);
  localparam int LAST_X = int'((OUT_W - 1) * STRIDE) - int'(PADDING);
  localparam int unsigned NEXT_IMAGE = (HEIGHT - (LAST_Y > 0 ? LAST_Y : 0)) * ROW;

  if (PADDING >= KERNEL_H || PADDING >= KERNEL_W) begin : chk_padding
    $error("window_buffer: PADDING=%0d must be below the kernel %0dx%0d", PADDING, KERNEL_H, KERNEL_W);
  end
  if (DEPTH != 2 ** ADDR_BITS || DEPTH < KERNEL_H * ROW || DEPTH < 2) begin : chk_depth
    $error("window_buffer: DEPTH=%0d must be a power of two of at least KERNEL_H*WIDTH*TIME_STEPS=%0d", DEPTH,
           KERNEL_H * ROW);
  end
  if (HEIGHT + 2 * PADDING < KERNEL_H || WIDTH + 2 * PADDING < KERNEL_W || FOLDS < 1) begin : chk_shape
    $error("window_buffer: a %0dx%0d kernel does not fit the map, or FOLDS is 0", KERNEL_H, KERNEL_W);
  end

  typedef logic signed [$clog2(SPAN+1):0] pos_t;  // a coordinate, negative in the padding
  typedef logic [ADDR_BITS:0] ptr_t;              // a beat number modulo twice the ring
  typedef logic [K_BITS-1:0] k_t;

  // --- ring ----------------------------------------------------------------------------------------------------
  logic [WORD_BITS-1:0] ring [DEPTH];
  ptr_t wr_ptr, line;  // next beat to write; oldest beat still needed (start of the window's first row)
  logic window_valid;  // the geometry of a window stands; low for 3 cycles after reset

  assign in_ready = window_valid && wr_ptr != (line ^ ptr_t'(DEPTH));
  always_ff @(posedge clk) begin
    if (in_valid && in_ready) ring[wr_ptr[ADDR_BITS-1:0]] <= in_data;
    if (!rst_n) wr_ptr <= '0;
    else if (in_valid && in_ready) wr_ptr <= wr_ptr + 1'b1;
  end

  // --- the windows' geometry, four stages ahead of the walk: position, clipping, addresses, need ------------------
  logic step;  // the walk takes the next window

  pos_t iy, ix;                   // top left of the window
  ptr_t line_1, left_1, right_1;  // first row inside; beats before the first column inside, and up to the last
  wire last_x = ix == pos_t'(LAST_X);
  wire last_y = iy == pos_t'(LAST_Y);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      iy <= pos_t'(-int'(PADDING));
      ix <= pos_t'(-int'(PADDING));
      line_1 <= '0;
      left_1 <= '0;
      right_1 <= ptr_t'((KERNEL_W - PADDING) * TIME_STEPS);
    end else if (step) begin
      ix <= last_x ? pos_t'(-int'(PADDING)) : ix + pos_t'(STRIDE);
      right_1 <= last_x ? ptr_t'((KERNEL_W - PADDING) * TIME_STEPS) : right_1 + ptr_t'(STRIDE * TIME_STEPS);
      if (last_x) left_1 <= '0;
      else if (ix >= 0) left_1 <= left_1 + ptr_t'(STRIDE * TIME_STEPS);
      else if (ix + pos_t'(STRIDE) >= 0) left_1 <= ptr_t'(CROSS * TIME_STEPS);
      if (last_x) begin
        iy <= last_y ? pos_t'(-int'(PADDING)) : iy + pos_t'(STRIDE);
        if (last_y) line_1 <= line_1 + ptr_t'(NEXT_IMAGE);
        else if (iy >= 0) line_1 <= line_1 + ptr_t'(STRIDE * ROW);
        else if (iy + pos_t'(STRIDE) >= 0) line_1 <= line_1 + ptr_t'(CROSS * ROW);
      end
    end
  end

  k_t ky_lo_2, ky_hi_2, kx_lo_2, kx_hi_2;
  ptr_t line_2, left_2, right_2;
  k_t ky_lo_3, ky_hi_3, kx_lo_3, kx_hi_3, k_3;
  ptr_t line_3, org_3, end_3, rows_3;
  k_t ky_lo, ky_hi, kx_lo, kx_hi, k_lo;
  ptr_t need;
  logic valid_2, valid_3;
  always_ff @(posedge clk) begin
    if (step) begin
      ky_lo_2 <= iy < 0 ? k_t'(-iy) : '0;
      kx_lo_2 <= ix < 0 ? k_t'(-ix) : '0;
      ky_hi_2 <= iy > pos_t'(int'(HEIGHT) - int'(KERNEL_H)) ? k_t'(pos_t'(HEIGHT - 1) - iy) : k_t'(KERNEL_H - 1);
      kx_hi_2 <= ix > pos_t'(int'(WIDTH) - int'(KERNEL_W)) ? k_t'(pos_t'(WIDTH - 1) - ix) : k_t'(KERNEL_W - 1);
      line_2 <= line_1;
      left_2 <= left_1;
      right_2 <= ix > pos_t'(int'(WIDTH) - int'(KERNEL_W)) ? ptr_t'(ROW) : right_1;

      {ky_lo_3, ky_hi_3, kx_lo_3, kx_hi_3} <= {ky_lo_2, ky_hi_2, kx_lo_2, kx_hi_2};
      line_3 <= line_2;
      org_3 <= line_2 + left_2;
      end_3 <= line_2 + right_2;
      for (int unsigned r = 0; r < KERNEL_H; r++) begin  // tables: no multiplier
        if (ky_hi_2 - ky_lo_2 == k_t'(r)) rows_3 <= ptr_t'(r * ROW);
        if (r <= PADDING && ky_lo_2 == k_t'(r)) k_3 <= k_t'(r * KERNEL_W) + kx_lo_2;
      end

      {ky_lo, ky_hi, kx_lo, kx_hi, k_lo} <= {ky_lo_3, ky_hi_3, kx_lo_3, kx_hi_3, k_3};
      need <= end_3 + rows_3;
    end
    if (!rst_n) begin
      {valid_2, valid_3, window_valid} <= '0;
      {line_2, line_3, line} <= '0;
    end else if (step) begin
      {valid_2, valid_3, window_valid} <= {1'b1, valid_2, valid_3};
      line <= line_3;
    end
  end

  // --- the walk: k innermost, then fold, then t -------------------------------------------------------------------
  localparam int unsigned F_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  k_t ky, kx, k, k_row;
  ptr_t addr, row, org_t;
  logic [F_BITS-1:0] fold;
  logic [T_BITS-1:0] t;

  ptr_t margin;
  assign margin = wr_ptr - need;
  wire row_end = kx == kx_hi;
  wire window_end = row_end && ky == ky_hi;
  wire fold_end = window_end && fold == F_BITS'(FOLDS - 1);
  wire pixel_end = fold_end && t == T_BITS'(TIME_STEPS - 1);
  wire enable = !out_valid || out_ready;
  wire complete = window_valid && !margin[ADDR_BITS];
  wire go = complete && enable;
  assign step = !window_valid || (go && pixel_end);

  always_ff @(posedge clk) begin
    if (step) begin
      {ky, kx, k, k_row} <= {ky_lo_3, kx_lo_3, k_3, k_3};
      addr <= org_3;
      row <= org_3;
      org_t <= org_3;
    end else if (go) begin
      if (!row_end) begin
        kx <= kx + 1'b1;
        k <= k + 1'b1;
        addr <= addr + ptr_t'(TIME_STEPS);
      end else if (!window_end) begin
        {ky, kx} <= {ky + 1'b1, kx_lo};
        k <= k_row + k_t'(KERNEL_W);
        k_row <= k_row + k_t'(KERNEL_W);
        addr <= row + ptr_t'(ROW);
        row <= row + ptr_t'(ROW);
      end else begin
        {ky, kx, k, k_row} <= {ky_lo, kx_lo, k_lo, k_lo};
        addr <= fold_end ? org_t + 1'b1 : org_t;
        row <= fold_end ? org_t + 1'b1 : org_t;
        if (fold_end) org_t <= org_t + 1'b1;
      end
    end
    if (!rst_n) {fold, t} <= '0;
    else if (go && window_end) begin
      fold <= fold_end ? '0 : fold + 1'b1;
      if (fold_end) t <= pixel_end ? '0 : t + 1'b1;
    end
  end

  // --- the read -----------------------------------------------------------------------------------------------
  logic [WORD_BITS-1:0] word;
  k_t k_q;
  logic last_q;
  always_ff @(posedge clk) begin
    if (enable) begin
      word <= ring[addr[ADDR_BITS-1:0]];
      k_q <= k;
      last_q <= window_end;
    end
    if (!rst_n) out_valid <= 1'b0;
    else if (enable) out_valid <= complete;
  end
  assign out_data = {last_q, k_q, word};
endmodule
