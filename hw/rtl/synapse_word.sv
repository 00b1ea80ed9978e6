/// synapse_word - the read-out's event scheduler: walks only the synapses whose input spiked, one a bank and cycle.
///   TOGETHER neighbouring channels are a group, one with a spike is an event. For each word with an event, and for the
///   last of an image: beat i holds the i-th event of each bank, act its spikes, at addr = {pixel, j} for group
///   j*SIMD + b of bank b, or act 0 and j 0. Other words are dropped
/// Beat        in: word of CHANNELS spikes, of which the first KEPT count, pixel, last (of an image), word lowest
///             out: SIMD act of TOGETHER bits, SIMD addr (group i belongs to bank i mod SIMD), last (of an image),
///             act lowest
/// Law         a word that is not dropped costs max(1, n, 1 + d) cycles: n the most events of a bank, d the words
///             dropped behind it, which come in at one a cycle while it is walked
/// Latency     3 cycles, word accepted -> its first step on out
/// Throughput  the law while out_ready: one word is looked ahead for
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       the word being walked, the next one, 2 steps
/// Golden      quant/golden/synapse_word.py
module synapse_word #(
  parameter int unsigned CHANNELS,
  parameter int unsigned KEPT,      // channels that count
  parameter int unsigned TOGETHER,  // channels of a group
  parameter int unsigned SIMD,
  parameter int unsigned PIXELS,
  localparam int unsigned K_BITS = PIXELS > 1 ? $clog2(PIXELS) : 1,
  localparam int unsigned GROUPS = (KEPT + SIMD * TOGETHER - 1) / (SIMD * TOGETHER),  // of a bank
  localparam int unsigned DEPTH = PIXELS * 2 ** $clog2(GROUPS),
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CHANNELS+K_BITS:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [SIMD*(TOGETHER+ADDR_BITS):0] out_data
);
  localparam int unsigned J_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
  localparam int unsigned WORD_BITS = TOGETHER > 1 ? GROUPS * (TOGETHER + 1) : GROUPS;  // events, spikes of a bank

  if (KEPT < 1 || KEPT > CHANNELS || TOGETHER < 1 || SIMD < 1 || PIXELS < 1) begin : chk_shape
    $error("synapse_word: KEPT=%0d must be 1 to CHANNELS=%0d, TOGETHER=%0d, SIMD=%0d and PIXELS=%0d at least 1",
           KEPT, CHANNELS, TOGETHER, SIMD, PIXELS);
  end
  if (KEPT < CHANNELS) begin : pruned
    wire unused = &{1'b0, in_data[CHANNELS-1:KEPT]};
  end

  // --- the next word that is not dropped ---------------------------------------------------------------------------
  wire [GROUPS-1:0][SIMD-1:0][TOGETHER-1:0] in_acts = (GROUPS * SIMD * TOGETHER)'(in_data[KEPT-1:0]);
  logic [SIMD-1:0][WORD_BITS-1:0] in_word, ahead;
  logic [SIMD-1:0] in_some, ahead_some;  // has the bank an event?
  for (genvar b = 0; b < SIMD; b++) begin : deal
    logic [GROUPS-1:0] events;
    logic [GROUPS-1:0][TOGETHER-1:0] acts;
    for (genvar j = 0; j < GROUPS; j++) begin : group
      assign acts[j] = in_acts[j][b];
      assign events[j] = |acts[j];
    end
    assign in_word[b] = WORD_BITS'({acts, events});
    assign in_some[b] = |events;
  end
  wire in_last = in_data[CHANNELS+K_BITS];
  logic ahead_valid, ahead_last, last;
  logic [K_BITS-1:0] ahead_pixel, pixel;
  logic [SIMD-1:0] free;  // the bank is empty, or gives its last event
  wire take = ahead_valid && &free;
  assign in_ready = !ahead_valid || &free;
  always_ff @(posedge clk) begin
    if (in_ready) begin
      {ahead, ahead_some} <= {in_word, in_some};
      {ahead_last, ahead_pixel} <= in_data[CHANNELS+:K_BITS+1];
    end
    if (take) {last, pixel} <= {ahead_last, ahead_pixel};
    if (!rst_n) ahead_valid <= 1'b0;
    else if (in_ready) ahead_valid <= in_valid && (|in_some || in_last);
  end

  // --- the banks, which take a word together, and the beats that they make together --------------------------------
  logic [SIMD-1:0] here, single;  // a word is being walked; at its last event
  logic [SIMD-1:0][TOGETHER-1:0] act;
  logic [SIMD-1:0][ADDR_BITS-1:0] addr;
  logic step_ready;
  wire fire = |here && step_ready;
  for (genvar b = 0; b < SIMD; b++) begin : bank
    logic [J_BITS-1:0] j;
    logic unused_tag, unused_there;
    // a bank that is done is offered a word that is not there: it shows no event, as the last of its word
    event_bank #(.GROUPS(GROUPS), .IN_BITS(TOGETHER), .TAG_BITS(1)) walk (
      .clk(clk), .rst_n(rst_n), .in_valid(take), .in_ready(free[b]),
      .in_data({1'b0, take && ahead_some[b], ahead[b]}),
      .out_valid(here[b]), .out_ready(fire), .out_data({single[b], unused_tag, unused_there, j, act[b]})
    );
    assign addr[b] = GROUPS > 1 ? ADDR_BITS'({pixel, j}) : ADDR_BITS'(pixel);
  end

  stream_fifo #(.WIDTH(SIMD * (TOGETHER + ADDR_BITS) + 1), .DEPTH(2)) steps (
    .clk(clk), .rst_n(rst_n), .in_valid(|here), .in_ready(step_ready),
    .in_data({last && &single, addr, act}),
    .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
