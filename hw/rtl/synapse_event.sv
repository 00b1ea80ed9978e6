/// synapse_event - the event scheduler: walks only the synapses whose activation is not zero, one a bank and cycle.
///   for each output pixel p, t, fold: the events act = in[pixel(p, k), t][j*SIMD + b] of bank b, k raster, then j, at
///   addr = {k, fold, j}; beat i of a window holds the i-th event of each bank, or act 0 and k = j = 0
/// Beat        in: CHANNELS activations of IN_BITS, of which the first KEPT count; one a (pixel, t), no windows
///             out: SIMD act, SIMD addr (channel i belongs to bank i mod SIMD), last (of a window), act lowest
/// Law         a window costs FOLDS * max(1, n) cycles, n the most events of a bank: words without events cost nothing
/// Latency     newest beat a window needs accepted -> out_valid: 11 cycles where FOLDS is 1, else 14; where readers are
///             shared, 16 and one more for each further word that a reader reads
/// Throughput  the law while out_ready, as long as event_window finds windows: it looks at a column and t a cycle, all
///             of which end a window but STRIDE_W - 1 columns a window and KERNEL_W - 1 - PADDING_W an image (where
///             2 * PADDING_W < KERNEL_W - 1, some more a row), and 16 windows are queued to hide these. A row of windows must
///             take the 18 cycles in which a row of the ring is freed, comes in and is looked at
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       a ring of ROWS rows of words, a memory a reader; in a reader the flags of the window's words that hold an
///             event (`flags`) and the word that is read (`read`), behind it the same in a register (`ahead`), for the
///             memory is slow; in a bank the word being walked. A reader serves one bank and waits for it. With FOLDS of
///             4 and more a bank is idle for so long that a reader has time for up to FOLDS banks: it reads what any of
///             them needs, and each bank has a queue of its own words. 16 words and 4 windows may be on that way
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
  parameter int unsigned STRIDE_H,
  parameter int unsigned STRIDE_W,
  parameter int unsigned PADDING_H,
  parameter int unsigned PADDING_W,
  parameter int unsigned TIME_STEPS,  // beats a pixel
  parameter int unsigned FOLDS,
  localparam int unsigned GROUPS = (KEPT + SIMD - 1) / SIMD,
  localparam int unsigned STEPS = 2 ** $clog2(GROUPS),
  localparam int unsigned DEPTH = KERNEL_H * KERNEL_W * 2 ** $clog2(FOLDS) * STEPS,
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
  localparam int unsigned NARROW = 12;  // bits whose lowest one is found without a carry chain in fewer cells
  localparam int unsigned OUT_H = (HEIGHT + 2 * PADDING_H - KERNEL_H) / STRIDE_H + 1;
  localparam int unsigned NEXT_IMAGE = HEIGHT - (OUT_H - 1) * STRIDE_H;  // as in event_window
  localparam int unsigned R_BITS = $clog2(KERNEL_H + (NEXT_IMAGE > STRIDE_H ? NEXT_IMAGE : STRIDE_H));
  localparam int unsigned C_BITS = WIDTH > 1 ? $clog2(WIDTH) : 1;
  localparam int unsigned T_BITS = TIME_STEPS > 1 ? $clog2(TIME_STEPS) : 1;
  localparam int unsigned PLACE_BITS = R_BITS + C_BITS + T_BITS;
  localparam int unsigned FOLD_BITS = KERNEL * STEPS > 1 ? $clog2(KERNEL * STEPS) : 1;
  localparam int unsigned K_BITS = KERNEL > 1 ? $clog2(KERNEL) : 1;
  localparam int unsigned J_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned WORD_BITS = IN_BITS > 1 ? GROUPS * (IN_BITS + 1) : GROUPS;  // events, activations of a bank
  // A window takes a shared reader min(KERNEL, BANKS * n) cycles or less, and FOLDS * n behind it. Two windows of a
  // kernel of up to 9 find places on the way; one that is longer would be waited for.
  localparam bit SHARED = SIMD > 1 && FOLDS > 3 && KERNEL <= 9;
  localparam int unsigned BANKS = !SHARED ? 1 : FOLDS < SIMD ? FOLDS : SIMD;  // of a reader
  localparam int unsigned READERS = (SIMD + BANKS - 1) / BANKS;
  localparam int unsigned COLUMN = PLACE_BITS > 5 ? 18 : BANKS * WORD_BITS;  // bits of a memory of the ring
  localparam int unsigned PLACES = 16;   // words on the way from shared readers through the banks
  localparam int unsigned WINDOWS = 4;   // windows on that way
  localparam int unsigned W_BITS = $clog2(WINDOWS);
  localparam int unsigned P_BITS = $clog2(PLACES);

  if (KEPT < 1 || KEPT > CHANNELS || SIMD < 1) begin : chk_channels
    $error("synapse_event: KEPT=%0d must be 1 to CHANNELS=%0d, SIMD=%0d at least 1", KEPT, CHANNELS, SIMD);
  end
  if (KERNEL > 64) begin : chk_kernel
    $error("synapse_event: a kernel of %0d positions is too large to search in a cycle; at most 64", KERNEL);
  end
  if (KEPT < CHANNELS) begin : pruned
    wire unused = &{1'b0, in_data[CHANNELS*IN_BITS-1:KEPT*IN_BITS]};
  end

  // more than one bit set: at some level of a tree, more than one of four branches hold any
  function automatic logic several(input logic [63:0] set);
    several = 1'b0;
    for (int level = 0; level < 3; level++) begin
      for (int i = 0; i < 16; i++) begin
        automatic logic [3:0] part = set[4*i+:4];
        several |= (part[0] && part[1]) || (part[2] && part[3]) || (|part[1:0] && |part[3:2]);
        set[i] = |part;
      end
      set[63:16] = '0;
    end
  endfunction

  // --- the words in: of each bank, the activations and which of them are events ------------------------------------
  logic [READERS*BANKS-1:0][WORD_BITS-1:0] in_word;
  logic [READERS*BANKS-1:0] in_some;
  for (genvar b = 0; b < READERS * BANKS; b++) begin : deal
    logic [GROUPS-1:0] events;
    logic [GROUPS-1:0][IN_BITS-1:0] acts;
    for (genvar j = 0; j < GROUPS; j++) begin : channel
      if (b < SIMD && j * SIMD + b < KEPT) begin : present
        assign acts[j] = in_data[(j*SIMD+b)*IN_BITS+:IN_BITS];
      end else begin : absent
        assign acts[j] = '0;
      end
      assign events[j] = |acts[j];
    end
    assign in_word[b] = WORD_BITS'({acts, events});
    assign in_some[b] = |events;
  end

  // --- the windows, and which of their words hold events -----------------------------------------------------------
  logic [READERS-1:0] in_flags;
  for (genvar r = 0; r < READERS; r++) begin : flag
    assign in_flags[r] = |in_some[r*BANKS+:BANKS];
  end
  logic [PLACE_BITS-1:0] in_place, next_place;
  logic [READERS-1:0][KERNEL-1:0] next_flags;
  logic window_valid, done;
  wire load = window_valid && done;
  event_window #(
    .SIMD(READERS), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W),
    .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W), .PADDING_H(PADDING_H), .PADDING_W(PADDING_W), .TIME_STEPS(TIME_STEPS)
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

  // --- the readers: the words of the window with an event, one after the other, or none ----------------------------
  logic [READERS-1:0] waiting, last;  // for its last word to be issued; this is it
  logic [READERS-1:0] enable;         // a word can be issued
  logic [READERS-1:0] read_valid, read_last, read_some;
  logic [READERS-1:0][K_BITS-1:0] read_k;
  logic [READERS-1:0][BANKS-1:0][WORD_BITS-1:0] read;
  for (genvar r = 0; r < READERS; r++) begin : reader
    logic [KERNEL-1:0] flags;
    logic [KERNEL_H-1:0] on_row;
    logic [KERNEL_W-1:0] on_column;
    logic [K_BITS-1:0] k;
    logic [PLACE_BITS-1:0] place;
    logic [KERNEL-1:0] rest;  // without the lowest
    if (KERNEL > NARROW) begin : wide_kernel
      assign rest = flags & (flags - 1'b1);
    end else begin : narrow_kernel
      for (genvar i = 0; i < KERNEL; i++) begin : position
        assign rest[i] = flags[i] && |(flags & KERNEL'((1 << i) - 1));
      end
    end
    always_comb begin
      {on_row, on_column, k, place} = '0;
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
      place[T_BITS-1:0] = t;
      for (int i = 0; i < int'(KERNEL_W); i++) if (on_column[i]) place[T_BITS+:C_BITS] |= column[i];
      for (int i = 0; i < int'(KERNEL_H); i++) if (on_row[i]) place[T_BITS+C_BITS+:R_BITS] |= row[i];
    end
    wire issue = waiting[r] && enable[r];
    always_ff @(posedge clk) begin
      // what comes next is known without the late `load` and `issue`: those only enable the registers
      if (load || issue) begin
        flags <= last[r] || !waiting[r] ? next_flags[r] : rest;
        last[r] <= !several(64'(last[r] || !waiting[r] ? next_flags[r] : rest));
      end
      if (!rst_n) waiting[r] <= 1'b0;
      else if (load) waiting[r] <= 1'b1;
      else if (issue && last[r]) waiting[r] <= 1'b0;

      if (issue) {read_k[r], read_last[r], read_some[r]} <= {k, last[r], flags != '0};
      if (!rst_n) read_valid[r] <= 1'b0;
      else if (SHARED || enable[r]) read_valid[r] <= issue;
    end
    // the words, in columns of as many bits as a side of a block RAM has, so that each has an output register
    wire [BANKS*WORD_BITS-1:0] in_words = in_word[r*BANKS+:BANKS];
    logic [BANKS*WORD_BITS-1:0] read_words;
    assign read[r] = read_words;
    for (genvar c = 0; c < BANKS * WORD_BITS; c += COLUMN) begin : part
      localparam int unsigned BITS = BANKS * WORD_BITS - c < COLUMN ? BANKS * WORD_BITS - c : COLUMN;
      (* no_rw_check, ram_style = PLACE_BITS > 5 ? "block" : "auto" *)
      logic [BITS-1:0] ring [2**PLACE_BITS];
      always_ff @(posedge clk) begin
        if (in_valid && in_ready) ring[in_place] <= in_words[c+:BITS];
        if (issue) read_words[c+:BITS] <= ring[place];
      end
    end
  end

  // --- the banks, and the beat that they make together -------------------------------------------------------------
  logic beat_valid, beat_last, replay_ready;
  logic [SIMD-1:0][IN_BITS-1:0] act;
  logic [SIMD-1:0][FOLD_BITS-1:0] addr;
  wire fire = beat_valid && replay_ready;

  if (SHARED) begin : shared
    typedef logic [W_BITS:0] window_t;  // a number of a window, modulo twice as many as there can be
    typedef logic [P_BITS:0] word_t;
    window_t entered, arrived, walked;  // windows read, come to the banks, walked
    word_t spent, freed;                // places
    word_t ends [WINDOWS];              // `spent` behind each window
    wire room = spent != (freed ^ word_t'(PLACES)) && entered != (walked ^ window_t'(WINDOWS));
    wire reading = |waiting && room;
    wire read_out = |waiting && done;
    assign enable = {READERS{room}};
    assign done = &(~waiting | last & enable);
    logic [4:1] end_of_window;  // on its way
    window_t tag, ahead_tag;
    always_ff @(posedge clk) begin
      if (read_out) ends[entered[W_BITS-1:0]] <= spent + 1'b1;
      {ahead_tag, tag} <= {tag, entered};
      if (!rst_n) {entered, arrived, walked, spent, freed, end_of_window} <= '0;
      else begin
        end_of_window <= {end_of_window[3:1], read_out};
        if (reading) spent <= spent + 1'b1;
        if (read_out) entered <= entered + 1'b1;
        if (end_of_window[4]) arrived <= arrived + 1'b1;
        if (fire && beat_last) walked <= walked + 1'b1;
        if (fire && beat_last) freed <= ends[walked[W_BITS-1:0]];
      end
    end
    assign beat_valid = arrived != walked;

    logic [READERS-1:0] ahead_valid;
    logic [READERS-1:0][K_BITS-1:0] ahead_k;
    logic [READERS-1:0][BANKS-1:0][WORD_BITS-1:0] ahead;
    always_ff @(posedge clk) begin
      {ahead, ahead_k} <= {read, read_k};
      if (!rst_n) ahead_valid <= '0;
      else ahead_valid <= read_valid & read_some;
    end

    logic [SIMD-1:0] final_event;
    assign beat_last = &final_event;
    for (genvar b = 0; b < SIMD; b++) begin : bank
      localparam int unsigned TAG_BITS = W_BITS + K_BITS;
      wire [WORD_BITS-1:0] word = ahead[b/BANKS][b%BANKS];
      logic next_valid, next_ready, there, single, unused_there;
      logic [TAG_BITS+WORD_BITS-1:0] queue [PLACES];  // never holds all of them: two are further on
      logic [TAG_BITS+WORD_BITS-1:0] next;
      logic [P_BITS-1:0] in_at, out_at;
      logic [W_BITS-1:0] window;
      logic [K_BITS-1:0] k;
      logic [J_BITS-1:0] j;
      logic [IN_BITS-1:0] held;
      wire push = ahead_valid[b/BANKS] && |word[GROUPS-1:0];
      wire next_enable = !next_valid || next_ready;
      always_ff @(posedge clk) begin
        if (push) queue[in_at] <= {ahead_tag[W_BITS-1:0], ahead_k[b/BANKS], word};
        if (next_enable) next <= queue[out_at];
        if (!rst_n) {in_at, out_at, next_valid} <= '0;
        else begin
          if (push) in_at <= in_at + 1'b1;
          if (next_enable) next_valid <= in_at != out_at;
          if (next_enable && in_at != out_at) out_at <= out_at + 1'b1;
        end
      end
      wire mine = there && window == walked[W_BITS-1:0];
      wire more = next_valid && next[WORD_BITS+K_BITS+:W_BITS] == walked[W_BITS-1:0];
      event_bank #(.GROUPS(GROUPS), .IN_BITS(IN_BITS), .TAG_BITS(TAG_BITS)) walk (
        .clk(clk), .rst_n(rst_n), .in_valid(next_valid), .in_ready(next_ready),
        .in_data({next[WORD_BITS+:TAG_BITS], 1'b1, next[WORD_BITS-1:0]}),
        .out_valid(there), .out_ready(fire && mine), .out_data({single, window, k, unused_there, j, held})
      );
      assign final_event[b] = !mine || (single && !more);
      assign act[b] = mine ? held : '0;
      assign addr[b] = !mine ? '0 : GROUPS > 1 ? FOLD_BITS'({k, j}) : FOLD_BITS'(k);
    end
    wire unused = &{1'b0, read_last, tag[W_BITS], ahead_tag[W_BITS]};
  end else begin : own
    logic [SIMD-1:0] here, final_event, finished;  // a word is being walked; at its window's last event; past that
    // the bank has issued its last word of the window: without `fire`, with it
    logic [SIMD-1:0] done_still, done_moving;
    assign done = fire ? &done_moving : &done_still;
    assign beat_valid = &(here | finished);
    assign beat_last = &(final_event | finished);
    always_ff @(posedge clk) begin
      if (!rst_n) finished <= '0;
      else if (fire) finished <= beat_last ? '0 : finished | final_event;
    end
    for (genvar b = 0; b < SIMD; b++) begin : bank
      logic [WORD_BITS-1:0] ahead;
      logic ahead_valid, ahead_enable, word_enable, ahead_last, ahead_some, single, word_last, some;
      logic [K_BITS-1:0] ahead_k, k;
      logic [J_BITS-1:0] j;
      logic [IN_BITS-1:0] held;
      wire gap = !read_valid[b] || !ahead_valid || !here[b];
      assign done_still[b] = !waiting[b] || (last[b] && gap);
      assign done_moving[b] = !waiting[b] || (last[b] && (gap || (single && !finished[b])));
      assign ahead_enable = !ahead_valid || word_enable;
      assign enable[b] = !read_valid[b] || ahead_enable;
      always_ff @(posedge clk) begin
        if (ahead_enable) {ahead, ahead_k, ahead_last, ahead_some} <= {read[b], read_k[b], read_last[b], read_some[b]};
        if (!rst_n) ahead_valid <= 1'b0;
        else if (ahead_enable) ahead_valid <= read_valid[b];
      end
      event_bank #(.GROUPS(GROUPS), .IN_BITS(IN_BITS), .TAG_BITS(K_BITS + 1)) walk (
        .clk(clk), .rst_n(rst_n), .in_valid(ahead_valid), .in_ready(word_enable),
        .in_data({ahead_k, ahead_last, ahead_some, ahead}),
        .out_valid(here[b]), .out_ready(fire && !finished[b]), .out_data({single, k, word_last, some, j, held})
      );
      wire mine = some && !finished[b];
      assign final_event[b] = word_last && single;
      assign act[b] = mine ? held : '0;
      assign addr[b] = !mine ? '0 : GROUPS > 1 ? FOLD_BITS'({k, j}) : FOLD_BITS'(k);
    end
  end

  event_replay #(
    .SIMD(SIMD), .IN_BITS(IN_BITS), .KERNEL(KERNEL), .STEPS(STEPS), .FOLDS(FOLDS), .LENGTH(KERNEL * GROUPS)
  ) replay (
    .clk(clk), .rst_n(rst_n), .in_valid(beat_valid), .in_ready(replay_ready), .in_data({beat_last, addr, act}),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
