/// axis_events - address events over AXI4-Stream, counted in bins of time, to frames of pixels.
///   A beat is an event: the 64 bits of a DAT file's, t[32], x[14], y[14], polarity[4], of which the lowest TIME_BITS and
///   the lowest one are looked at. tlast ends a recording: its frames are those of its bins, [start + k*BIN, start +
///   (k+1)*BIN), up to its last event; start is its first event (FROM_FIRST) or time 0. A bin without events is a frame
///   of zeros. A pixel's channel is the polarity, or one of both; its count saturates, with BITS 1 at 0 or 1
///   Events beyond the WIDTH x HEIGHT pixels at (X0, Y0) are counted in `dropped` instead, and move time all the same.
///   TIME_BITS are enough where no event is later by 2^(TIME_BITS-1) than the bin that fills: times may wrap
/// Beat        out: CHANNELS counts of BITS, last[1] of a frame, end[1] of a recording; pixels in raster order
/// Latency     5 cycles, beat that ends a bin (a later one's, or tlast) accepted -> the frame's first out_valid, where
///             the frame before has left; 6 behind tlast
/// Throughput  1 event/cycle, and a cycle for each frame, while the frame before leaves: WIDTH*HEIGHT + 3 cycles or more
/// Handshake   valid never waits for ready; payload stable while valid && !ready; tready waits for room in a memory
/// State       two memories, of which one is counted in while the other one leaves and is cleared; a row takes a power of
///             two of words. Cleared in the WIDTH*HEIGHT cycles after reset, in which nothing is taken
/// Errors      time_error rises, and stays until reset, with an event before its recording's bin, which counts in that
/// Golden      quant/golden/axis_events.py
module axis_events #(
  parameter int unsigned X0,
  parameter int unsigned Y0,
  parameter int unsigned WIDTH,
  parameter int unsigned HEIGHT,
  parameter int unsigned CHANNELS,    // 2: one a polarity; 1: both in one
  parameter int unsigned BITS,        // of a count
  parameter int unsigned BIN,         // time of a bin
  parameter int unsigned TIME_BITS,
  parameter int unsigned FROM_FIRST   // 1: a recording's bins start at its first event; 0: at time 0
) (
  input  logic clk,
  input  logic rst_n,
  input  logic s_axis_tvalid,
  output logic s_axis_tready,
  input  logic [63:0] s_axis_tdata,
  input  logic s_axis_tlast,
  output logic out_valid,
  input  logic out_ready,
  output logic [CHANNELS*BITS+1:0] out_data,
  output logic [31:0] dropped,
  output logic time_error
);
  localparam int unsigned PLACE_BITS = 14;  // of a column or row in the beat
  if (WIDTH < 1 || HEIGHT < 1 || X0 + WIDTH > 1 << PLACE_BITS || Y0 + HEIGHT > 1 << PLACE_BITS) begin : chk_window
    $error("axis_events: %0d x %0d pixels at (%0d, %0d) must be at least one, and end at %0d",
           WIDTH, HEIGHT, X0, Y0, 1 << PLACE_BITS);
  end
  if (CHANNELS < 1 || CHANNELS > 2 || BITS < 1 || BITS > 8 || FROM_FIRST > 1) begin : chk_count
    $error("axis_events: CHANNELS=%0d must be 1 or 2, BITS=%0d 1 to 8, FROM_FIRST=%0d 0 or 1",
           CHANNELS, BITS, FROM_FIRST);
  end
  if (TIME_BITS < 2 || TIME_BITS > 32 || BIN < 1 || 64'(BIN) >= 64'd1 << (TIME_BITS - 1)) begin : chk_time
    $error("axis_events: TIME_BITS=%0d must be 2 to 32, and BIN=%0d at least 1 and below half of 2^TIME_BITS",
           TIME_BITS, BIN);
  end

  localparam int unsigned WORD = CHANNELS * BITS;
  localparam int unsigned X_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1;
  localparam int unsigned Y_BITS = HEIGHT > 1 ? $clog2(HEIGHT) : 1;
  localparam int unsigned DEPTH = (HEIGHT > 1 ? HEIGHT : 2) << X_BITS;
  localparam logic [TIME_BITS-1:0] LENGTH = TIME_BITS'(BIN);

  // --- the event in hand, and when its bin ends ----------------------------------------------------------------------
  logic waiting, last, on, wiping;
  logic [TIME_BITS-1:0] t, bin_end;
  logic [PLACE_BITS-1:0] x, y;
  logic closing;  // the recording's last event is counted: its last bin leaves next
  logic fresh;    // the bins of the recording have no start yet
  wire [TIME_BITS-1:0] beyond = t - bin_end;
  wire late = waiting && !fresh && !beyond[TIME_BITS-1];
  wire go = waiting && !late && !closing;
  wire free, swap;
  assign swap = (late || closing) && free;
  assign s_axis_tready = !wiping && (!waiting || go);
  wire unused = &{1'b0, s_axis_tdata[63:61], 32'(s_axis_tdata[31:0] >> TIME_BITS)};

  always_ff @(posedge clk) begin
    if (s_axis_tready) begin
      t <= s_axis_tdata[TIME_BITS-1:0];
      x <= s_axis_tdata[32+:PLACE_BITS];
      y <= s_axis_tdata[46+:PLACE_BITS];
      on <= s_axis_tdata[60];
      last <= s_axis_tlast;
    end
    if (go && fresh || swap) bin_end <= (fresh ? t : swap && closing ? '0 : bin_end) + LENGTH;
    if (!rst_n) begin
      waiting <= 1'b0;
      closing <= 1'b0;
      fresh <= FROM_FIRST == 1;
      bin_end <= LENGTH;
    end else begin
      if (s_axis_tready) waiting <= s_axis_tvalid;
      if (go || swap) closing <= go && last;
      if (go || swap && closing) fresh <= !go && FROM_FIRST == 1;
    end
  end

  // --- counted: its word is read, taken into a register, and written back --------------------------------------------
  wire [PLACE_BITS-1:0] column = x - PLACE_BITS'(X0);
  wire [PLACE_BITS-1:0] row = y - PLACE_BITS'(Y0);
  wire seen = column < PLACE_BITS'(WIDTH) && row < PLACE_BITS'(HEIGHT);  // before X0 or Y0 it has wrapped, and is larger
  wire [X_BITS+Y_BITS-1:0] place = {row[Y_BITS-1:0], column[X_BITS-1:0]};
  logic filling;  // the memory that is counted in; the other one leaves
  logic counted, missed, timed, filling_1, on_1, counted_2, filling_2, on_2;
  logic again_1, again_2;  // the event two before, or just before, is of the same word, and is not in what is read
  logic [X_BITS+Y_BITS-1:0] place_1, place_2;
  logic [TIME_BITS-1:0] beyond_1;
  logic [1:0][WORD-1:0] word;  // read of either memory
  logic [WORD-1:0] word_2, held, former, latter;
  wire [TIME_BITS-1:0] since = beyond_1 + LENGTH;  // since the bin began
  assign former = again_2 ? held : word_2;
  for (genvar c = 0; c < CHANNELS; c++) begin : count
    wire [BITS-1:0] n = former[c*BITS+:BITS];
    wire hit = CHANNELS == 1 || on_2 == (c == 1);
    assign latter[c*BITS+:BITS] = hit && n != '1 ? n + 1'b1 : n;
  end
  always_ff @(posedge clk) begin
    {place_1, on_1, filling_1} <= {place, on, filling};
    {place_2, on_2, filling_2} <= {place_1, on_1, filling_1};
    beyond_1 <= beyond;
    word_2 <= again_1 ? held : word[filling_1];
    held <= latter;
    again_1 <= counted_2 && {filling_2, place_2} == {filling, place};
    again_2 <= counted_2 && place_2 == place_1;
    if (!rst_n) begin
      counted <= 1'b0;
      counted_2 <= 1'b0;
      missed <= 1'b0;
      timed <= 1'b0;
      dropped <= '0;
      time_error <= 1'b0;
    end else begin
      counted <= go && seen;
      counted_2 <= counted;
      missed <= go && !seen;
      timed <= go && !fresh;
      if (missed) dropped <= dropped + 1'b1;
      if (timed && since[TIME_BITS-1]) time_error <= 1'b1;
    end
  end

  // --- the walk over the memory that leaves, and after reset over both -----------------------------------------------
  logic leaving, walking, ending, read, read_last, read_end;  // leaving: the last event is on its way into the memory
  logic wiped, cleared;  // wiped: what is cleared is both
  logic [X_BITS-1:0] walk_x;
  logic [Y_BITS-1:0] walk_y;
  logic [X_BITS+Y_BITS-1:0] walk_1;
  wire [X_BITS+Y_BITS-1:0] walk = {walk_y, walk_x};
  wire enable = !out_valid || out_ready;
  wire step = wiping || walking && enable;
  wire last_x = walk_x == X_BITS'(WIDTH - 1);
  wire last_y = walk_y == Y_BITS'(HEIGHT - 1);
  assign free = !leaving && !walking && !read;

  always_ff @(posedge clk) begin
    {walk_1, wiped} <= {walk, wiping};
    if (swap) ending <= closing;
    if (enable) begin
      read_last <= last_x && last_y;
      read_end <= last_x && last_y && ending;
      out_data <= {read_end, read_last, word[!filling]};
    end
    if (!rst_n) begin
      wiping <= 1'b1;
      leaving <= 1'b0;
      walking <= 1'b0;
      walk_x <= '0;
      walk_y <= '0;
      cleared <= 1'b0;
      read <= 1'b0;
      out_valid <= 1'b0;
      filling <= 1'b0;
    end else begin
      cleared <= step;
      if (enable) begin
        read <= walking;
        out_valid <= read;
      end
      if (step) begin
        walk_x <= last_x ? '0 : walk_x + 1'b1;
        if (last_x) walk_y <= last_y ? '0 : walk_y + 1'b1;
        if (last_x && last_y) begin
          wiping <= 1'b0;
          walking <= 1'b0;
        end
      end
      leaving <= swap;
      if (leaving) walking <= 1'b1;
      if (swap) filling <= !filling;
    end
  end

  // --- the memories; a word that is read while it is written is not used: see `again_1` ------------------------------
  for (genvar m = 0; m < 2; m++) begin : memory
    (* no_rw_check *) logic [WORD-1:0] counts [DEPTH];
    wire fills = filling == (m == 1);
    wire clear = cleared && (wiped || !fills);
    always_ff @(posedge clk) begin
      if (clear || counted_2 && filling_2 == (m == 1)) counts[clear ? walk_1 : place_2] <= clear ? '0 : latter;
      if (fills || enable) word[m] <= counts[fills ? place : walk];
    end
  end
endmodule
