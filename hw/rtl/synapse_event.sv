/// synapse_event - the event scheduler: walks only the synapses whose activation is not zero, one a bank and cycle.
///   for each output pixel p, t, fold: the events act = in[pixel(p, k), t][j*SIMD + b] of bank b, k raster, then j, at
///   addr = {fold*KERNEL + k, j}; beat i of a window holds the i-th event of each bank, or act 0 and k = j = 0
/// Beat        in: CHANNELS activations of IN_BITS, of which the first KEPT count; one a (pixel, t), no windows
///             out: SIMD act, SIMD addr (channel i belongs to bank i mod SIMD), last (of a window), act lowest
/// Law         a window costs FOLDS * max(1, n) cycles, n the most events of a bank: words without events cost nothing
/// Latency     newest beat a window needs accepted -> out_valid: 10 cycles where FOLDS is 1, else 12
/// Throughput  the law while out_ready, as long as event_window finds windows: it looks at a column and t a cycle, all
///             of which end a window but STRIDE - 1 columns a window and KERNEL_W - 1 - PADDING an image (where 2 *
///             PADDING < KERNEL_W - 1, some more a row), and 16 windows are queued to hide these. A row of windows must
///             take the 17 cycles in which a row of the ring is freed, comes in and is looked at
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       a ring of ROWS rows of words, one memory a bank; four stages a bank: flags of the window's words with
///             an event (`flags`), the word that is read (`read`), the same in a register (`ahead`), the word being
///             walked (`word`)
/// Golden      quant/golden/synapse_event.py
module synapse_event #(
  parameter int unsigned CHANNELS,
  parameter int unsigned KEPT,        // channels that count
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned HEIGHT,      // of the input map
  parameter int unsigned WIDTH,
  parameter int unsigned KERNEL_H,
  parameter int unsigned KERNEL_W,
  parameter int unsigned STRIDE,
  parameter int unsigned PADDING,
  parameter int unsigned TIME_STEPS,  // beats a pixel
  parameter int unsigned FOLDS,
  localparam int unsigned GROUPS = (KEPT + SIMD - 1) / SIMD,
  localparam int unsigned STEPS = 2 ** $clog2(GROUPS),
  localparam int unsigned DEPTH = FOLDS * KERNEL_H * KERNEL_W * STEPS,
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS*IN_BITS-1:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [SIMD*(IN_BITS+ADDR_BITS):0] out_data
);
  localparam int unsigned KERNEL = KERNEL_H * KERNEL_W;
  localparam int unsigned MOST = 256;   // bits that can be searched, a power of four
  localparam int unsigned NARROW = 12;  // bits whose lowest one is found without a carry chain in fewer cells
  localparam int unsigned OUT_H = (HEIGHT + 2 * PADDING - KERNEL_H) / STRIDE + 1;
  localparam int unsigned NEXT_IMAGE = HEIGHT - (OUT_H - 1) * STRIDE;  // as in event_window
  localparam int unsigned R_BITS = $clog2(KERNEL_H + (NEXT_IMAGE > STRIDE ? NEXT_IMAGE : STRIDE));
  localparam int unsigned C_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  localparam int unsigned PLACE_BITS = R_BITS + C_BITS + T_BITS;
  localparam int unsigned FOLD_BITS = KERNEL * STEPS > 1 ? $clog2(KERNEL * STEPS) : 1;
  localparam int unsigned K_BITS = KERNEL > 1 ? $clog2(KERNEL) : 1;
  localparam int unsigned J_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;

  if (KEPT < 1 || KEPT > CHANNELS || SIMD < 1) begin : chk_channels
    $error("synapse_event: KEPT=%0d must be 1 to CHANNELS=%0d, SIMD=%0d at least 1", KEPT, CHANNELS, SIMD);
  end
  if (KERNEL > 64) begin : chk_kernel
    $error("synapse_event: a kernel of %0d positions is too large to search in a cycle; at most 64", KERNEL);
  end
  if (GROUPS > MOST) begin : chk_groups
    $error("synapse_event: %0d channels of a bank are too many to search in a cycle; at most %0d", GROUPS, MOST);
  end
  if (KEPT < CHANNELS) begin : pruned
    wire unused = &{1'b0, in_data[CHANNELS*IN_BITS-1:KEPT*IN_BITS]};
  end

  // more than one bit set: at some level of a tree, more than one of four branches hold any
  function automatic logic several(input logic [MOST-1:0] set);
    several = 1'b0;
    for (int level = 0; level < $clog2(MOST) / 2; level++) begin
      for (int i = 0; i < MOST / 4; i++) begin
        automatic logic [3:0] part = set[4*i+:4];
        several |= (part[0] && part[1]) || (part[2] && part[3]) || (|part[1:0] && |part[3:2]);
        set[i] = |part;
      end
      set[MOST-1:MOST/4] = '0;
    end
  endfunction

  // --- the windows, and which of their words hold events -----------------------------------------------------------
  logic [SIMD-1:0] in_flags;
  logic [PLACE_BITS-1:0] in_place, next_place;
  logic [SIMD-1:0][KERNEL-1:0] next_flags;
  logic window_valid;
  logic fire;
  logic [SIMD-1:0] done_still, done_moving;  // the bank has issued its last word of the window: without `fire`, with it
  wire done = fire ? &done_moving : &done_still;
  wire load = window_valid && done;
  event_window #(
    .SIMD(SIMD), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE(STRIDE),
    .PADDING(PADDING), .TIME_STEPS(TIME_STEPS)
  ) windows (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_flags), .in_place(in_place),
    .out_valid(window_valid), .out_ready(done), .out_data({next_place, next_flags})
  );
  // the rows and columns of the window, so that a position is picked and not added
  logic [KERNEL_H-1:0][R_BITS-1:0] row;
  logic [KERNEL_W-1:0][C_BITS-1:0] column;
  logic [T_BITS-1:0] t;
  always_ff @(posedge clk) begin
    if (load) begin
      t <= next_place[T_BITS-1:0];
      for (int i = 0; i < int'(KERNEL_W); i++) column[i] <= next_place[T_BITS+:C_BITS] + C_BITS'(i);
      for (int i = 0; i < int'(KERNEL_H); i++) row[i] <= next_place[T_BITS+C_BITS+:R_BITS] + R_BITS'(i);
    end
  end

  // --- the combined beat: each bank's event until its last -------------------------------------------------------
  logic [SIMD-1:0] here, final_event, finished;  // a word is being walked; at its window's last event; past that
  logic [SIMD-1:0][IN_BITS-1:0] act;
  logic [SIMD-1:0][FOLD_BITS-1:0] addr;
  logic replay_ready;
  wire beat_valid = &(here | finished);
  wire beat_last = &(final_event | finished);
  assign fire = beat_valid && replay_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) finished <= '0;
    else if (fire) finished <= beat_last ? '0 : finished | final_event;
  end

  for (genvar b = 0; b < SIMD; b++) begin : bank
    // the words in: their activations, and which of them are events where that is not the same
    localparam int unsigned WORD_BITS = IN_BITS > 1 ? GROUPS * (IN_BITS + 1) : GROUPS;
    logic [GROUPS-1:0] in_events;
    logic [GROUPS-1:0][IN_BITS-1:0] in_acts;
    logic [WORD_BITS-1:0] in_word;
    for (genvar j = 0; j < GROUPS; j++) begin : channel
      if (j * SIMD + b < KEPT) begin : present
        assign in_acts[j] = in_data[(j*SIMD+b)*IN_BITS+:IN_BITS];
      end else begin : absent
        assign in_acts[j] = '0;
      end
      assign in_events[j] = |in_acts[j];
    end
    assign in_word = WORD_BITS'({in_acts, in_events});
    assign in_flags[b] = |in_events;

    // the first stage: the first word with an event, or none
    logic [KERNEL-1:0] flags;
    logic waiting;  // for its last word to be issued
    logic last;     // this is it
    logic [KERNEL_H-1:0] on_row;
    logic [KERNEL_W-1:0] on_column;
    logic [K_BITS-1:0] k;
    logic [PLACE_BITS-1:0] read_place;
    logic [KERNEL-1:0] rest;  // without the lowest
    if (KERNEL > NARROW) begin : wide_kernel
      assign rest = flags & (flags - 1'b1);
    end else begin : narrow_kernel
      for (genvar i = 0; i < KERNEL; i++) begin : position
        assign rest[i] = flags[i] && |(flags & KERNEL'((1 << i) - 1));
      end
    end
    logic read_enable, read_valid, ahead_enable, ahead_valid;
    logic single;  // the word being walked is at its last event, or has none
    wire issue = waiting && read_enable;
    wire gap = !read_valid || !ahead_valid || !here[b];
    assign done_still[b] = !waiting || (last && gap);
    assign done_moving[b] = !waiting || (last && (gap || (single && !finished[b])));
    always_comb begin
      {on_row, on_column, k, read_place} = '0;
      for (int y = int'(KERNEL_H) - 1; y >= 0; y--) begin  // the first row and column, the row in the fewest levels
        automatic logic [KERNEL_W-1:0] in_row = flags[y*KERNEL_W+:KERNEL_W];
        if (in_row != '0) on_row = KERNEL_H'(1 << y);
      end
      for (int i = 0; i < int'(KERNEL); i++) begin
        automatic logic [KERNEL_W-1:0] in_row = flags[i/KERNEL_W*KERNEL_W+:KERNEL_W];
        automatic logic first = in_row[i%KERNEL_W] && (in_row & KERNEL_W'((1 << (i % KERNEL_W)) - 1)) == '0;
        on_column[i%KERNEL_W] |= on_row[i/KERNEL_W] && first;
      end
      for (int i = 0; i < int'(KERNEL); i++) begin
        if (on_row[i/KERNEL_W] && on_column[i%KERNEL_W]) k |= K_BITS'(i);
      end
      read_place[T_BITS-1:0] = t;
      for (int i = 0; i < int'(KERNEL_W); i++) if (on_column[i]) read_place[T_BITS+:C_BITS] |= column[i];
      for (int i = 0; i < int'(KERNEL_H); i++) if (on_row[i]) read_place[T_BITS+C_BITS+:R_BITS] |= row[i];
    end
    always_ff @(posedge clk) begin
      // what comes next is known without the late `load` and `issue`: those only enable the registers
      if (load || issue) begin
        flags <= last || !waiting ? next_flags[b] : rest;
        last <= !several(MOST'(last || !waiting ? next_flags[b] : rest));
      end
      if (!rst_n) waiting <= 1'b0;
      else if (load) waiting <= 1'b1;
      else if (issue && last) waiting <= 1'b0;
    end

    // the second stage: the word from the memory; the third: in a register, for the memory is slow
    (* no_rw_check, ram_style = PLACE_BITS > 5 ? "block" : "auto" *)
    logic [WORD_BITS-1:0] ring [2**PLACE_BITS];
    logic [WORD_BITS-1:0] read, ahead;
    logic read_last, read_some, ahead_last, ahead_some;
    logic [K_BITS-1:0] read_k, ahead_k;
    always_ff @(posedge clk) begin
      if (in_valid && in_ready) ring[in_place] <= in_word;
      if (issue) read <= ring[read_place];
      if (issue) {read_k, read_last, read_some} <= {k, last, flags != '0};
      if (ahead_enable) {ahead, ahead_k, ahead_last, ahead_some} <= {read, read_k, read_last, read_some};
      if (!rst_n) {read_valid, ahead_valid} <= '0;
      else begin
        if (read_enable) read_valid <= waiting;
        if (ahead_enable) ahead_valid <= read_valid;
      end
    end

    // the fourth stage: the word being walked
    logic [WORD_BITS-1:0] word;
    logic word_last, word_some;
    logic [K_BITS-1:0] word_k;
    logic [J_BITS-1:0] j;
    wire [GROUPS-1:0] events = word[GROUPS-1:0];
    logic [GROUPS-1:0] events_rest;
    if (GROUPS > NARROW) begin : wide_word
      assign events_rest = events & (events - 1'b1);
    end else begin : narrow_word
      for (genvar i = 0; i < GROUPS; i++) begin : channel
        assign events_rest[i] = events[i] && |(events & GROUPS'((1 << i) - 1));
      end
    end
    wire [GROUPS-1:0] event_first = events & ~events_rest;
    wire step = fire && !finished[b];
    wire word_enable = !here[b] || (step && single);
    wire some = word_some && !finished[b];
    assign ahead_enable = !ahead_valid || word_enable;
    assign read_enable = !read_valid || ahead_enable;
    assign final_event[b] = word_last && single;
    always_ff @(posedge clk) begin
      if (word_enable) {word_k, word_last, word_some} <= {ahead_k, ahead_last, ahead_some};
      if (!here[b] || step) begin
        // `single` decides on the way to the window queue: too far to be found there
        word <= single || !here[b] ? ahead : WORD_BITS'({word >> GROUPS, events_rest});
        single <= !several(MOST'(single || !here[b] ? ahead[GROUPS-1:0] : events_rest)) ||
                  ((single || !here[b]) && !ahead_some);
      end
      if (!rst_n) here[b] <= 1'b0;
      else if (word_enable) here[b] <= ahead_valid;
    end
    always_comb begin
      j = '0;
      for (int unsigned i = 0; i < GROUPS; i++) if (event_first[i]) j |= J_BITS'(i);
    end
    if (GROUPS > 1) begin : indexed
      assign addr[b] = some ? FOLD_BITS'({word_k, j}) : '0;
    end else begin : alone
      assign addr[b] = some ? word_k : '0;
    end
    if (IN_BITS > 1) begin : graded
      logic [IN_BITS-1:0] picked;
      always_comb begin
        picked = '0;
        for (int i = 0; i < GROUPS; i++) if (event_first[i]) picked |= word[GROUPS+i*IN_BITS+:IN_BITS];
      end
      assign act[b] = some ? picked : '0;
    end else begin : binary
      assign act[b] = some;
    end
  end

  // --- out ---------------------------------------------------------------------------------------------------------
  event_replay #(
    .SIMD(SIMD), .IN_BITS(IN_BITS), .KERNEL(KERNEL), .STEPS(STEPS), .FOLDS(FOLDS), .LENGTH(KERNEL * GROUPS)
  ) replay (
    .clk(clk), .rst_n(rst_n), .in_valid(beat_valid), .in_ready(replay_ready), .in_data({beat_last, addr, act}),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
