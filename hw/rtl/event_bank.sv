/// event_bank - walks the events of a bank's words, lowest channel first, one a cycle.
///   for each word: act = acts[j] for each j whose event bit is set; one step of act 0, j 0 for a word that is not there
/// Beat        in: a word (GROUPS event bits, then GROUPS activations of IN_BITS where IN_BITS > 1), there, tag of
///             TAG_BITS; a word that is there holds an event. Out: act, j, there, tag, last (of the word); lowest first
/// Latency     1 cycle, word accepted -> its first event
/// Throughput  1 event/cycle while out_ready: the next word comes in as the last event leaves
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows out_ready
/// State       the word being walked, and whether it is at its last event
/// Golden      quant/golden/event_bank.py
module event_bank #(
  parameter int unsigned GROUPS,   // channels
  parameter int unsigned IN_BITS,
  parameter int unsigned TAG_BITS,
  localparam int unsigned WORD_BITS = IN_BITS > 1 ? GROUPS * (IN_BITS + 1) : GROUPS,
  localparam int unsigned J_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [TAG_BITS+WORD_BITS:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [TAG_BITS+J_BITS+IN_BITS+1:0] out_data
);
  localparam int unsigned MOST = 256;   // channels that can be searched
  localparam int unsigned NARROW = 12;  // bits whose lowest one is found without a carry chain in fewer cells

  if (GROUPS < 1 || GROUPS > MOST) begin : chk_groups
    $error("event_bank: GROUPS=%0d must be 1 to %0d, or they are too many to search in a cycle", GROUPS, MOST);
  end

  localparam int unsigned FOURS = (GROUPS + 3) / 4;  // not of MOST: a simulation would count the zeros too, each cycle
  localparam int unsigned COUNTED = 4 * FOURS;

  // how many bits are set, 3 if more: by fours, and then pair by pair. All fours at once, two bits of a count side by
  // side: a simulator works on words
  function automatic logic [1:0] number(input logic [COUNTED-1:0] set);
    automatic logic [3:0][FOURS-1:0] part = set;
    automatic logic [FOURS-1:0] some_l = part[0] | part[1], some_r = part[2] | part[3];
    automatic logic [FOURS-1:0] both_l = part[0] & part[1], both_r = part[2] & part[3];
    automatic logic [FOURS-1:0] three = (both_l & some_r) | (both_r & some_l);
    automatic logic [FOURS-1:0] high = three | both_l | both_r | (some_l & some_r);
    automatic logic [FOURS-1:0] low = three | (part[0] ^ part[1] ^ part[2] ^ part[3]);
    for (int count = (1 << $clog2(FOURS)) / 2; count > 0; count /= 2) begin
      automatic logic [FOURS-1:0] other_high = high >> count, other_low = low >> count;
      automatic logic [FOURS-1:0] more = high | other_high | (low & other_low);
      low = (low ^ other_low) | (high & (low | other_high)) | (other_high & other_low);
      high = more;
    end
    number = {high[0], low[0]};
  endfunction

  logic [WORD_BITS-1:0] word;
  logic [TAG_BITS-1:0] tag;
  logic there;
  logic single;  // at the word's last event, or it is not there
  wire [GROUPS-1:0] events = word[GROUPS-1:0], in_events = in_data[GROUPS-1:0];
  wire fresh = single || !out_valid;  // the next word takes the place of this one
  logic [GROUPS-1:0] rest;  // without the lowest
  logic one;                // what comes next has one event at most
  if (GROUPS > NARROW) begin : wide_word
    assign rest = events & (events - 1'b1);
    // not found from `rest`, which is late: of three events two are left
    assign one = fresh ? number(COUNTED'(in_events)) < 2 : number(COUNTED'(events)) < 3;
  end else begin : narrow_word
    assign one = number(COUNTED'(fresh ? in_events : rest)) < 2;
    for (genvar i = 0; i < GROUPS; i++) begin : channel
      assign rest[i] = events[i] && |(events & GROUPS'((1 << i) - 1));
    end
  end
  wire [GROUPS-1:0] first = events & ~rest;
  wire step = out_valid && out_ready;
  assign in_ready = !out_valid || (step && single);
  always_ff @(posedge clk) begin
    if (in_ready) {tag, there} <= in_data[TAG_BITS+WORD_BITS:WORD_BITS];
    if (!out_valid || step) begin
      // the word that comes does not wait for `in_valid` and `out_ready`: both come late
      word <= fresh ? in_data[WORD_BITS-1:0] : WORD_BITS'({word >> GROUPS, rest});
      single <= one || (fresh && !in_data[WORD_BITS]);
    end
    if (!rst_n) out_valid <= 1'b0;
    else if (in_ready) out_valid <= in_valid;
  end

  logic [J_BITS-1:0] j;
  logic [IN_BITS-1:0] act;
  always_comb begin
    j = '0;
    for (int unsigned i = 0; i < GROUPS; i++) if (first[i] && there) j |= J_BITS'(i);
  end
  if (IN_BITS > 1) begin : graded
    always_comb begin
      act = '0;
      for (int i = 0; i < GROUPS; i++) if (first[i] && there) act |= word[GROUPS+i*IN_BITS+:IN_BITS];
    end
  end else begin : binary
    assign act = there;
  end
  assign out_data = {single, tag, there, j, act};
endmodule
