/// readout - integrates spikes into logits without firing, one synapse step a cycle for all classes at once.
///   logit[c] = bias[c] + sum over the steps of an image and lanes of  weights[addr][c] * act
///              IN_BITS > 1: of  weights[{addr, act}][c], the sums that stand for each pattern of spikes; 0 for none
///   class    = arg-max, lowest index
///   FRAMES: an image is a frame, whose logits are added to those of its recording, bias and all; told are the sums of
///   a recording's last frame, and of every TELL_EVERY-th of it (0: of no other)
/// Beat        in: SIMD act, SIMD addr, last (of an image); out, one an image: CLASSES logits, class above them
///             FRAMES: in, above last: ends, in a frame's last beat: it is the last of its recording; out, uppermost: ends
/// Latency     4 + ceil(log2(SIMD)) + CLASSES cycles, an image's last step accepted -> out_valid; a pattern's 1 more,
///             and of a bank in segments what mac_array takes for them
/// Throughput  1 step/cycle; at least CLASSES + 2 cycles an image, CLASSES + 1 a frame that is not told
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       CLASSES accumulators of LOGIT_BITS; the arg-max so far; FRAMES: CLASSES sums of the recording
/// Memory      BIAS_FILE.mem: CLASSES biases (T times the bias of a step; FRAMES: once); weights as mac_array
/// Golden      quant/golden/readout.py
module readout #(
  parameter int unsigned CLASSES,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,     // 1: spikes; more: patterns of spikes
  parameter int unsigned DEPTH,       // words of a weight bank
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned LOGIT_BITS,
  parameter WEIGHTS_FILE,
  parameter BIAS_FILE,
  parameter int unsigned FRAMES = 0,      // 1: sums go on over the frames of a recording
  parameter int unsigned TELL_EVERY = 0,  // so many frames are told; 0: the last one of a recording alone
  localparam int unsigned WORDS = IN_BITS > 1 ? DEPTH >> IN_BITS : DEPTH,  // that addr tells apart
  localparam int unsigned ADDR_BITS = WORDS > 1 ? $clog2(WORDS) : 1,
  localparam int unsigned CLASS_BITS = CLASSES > 1 ? $clog2(CLASSES) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS)+FRAMES:0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [CLASSES*LOGIT_BITS+CLASS_BITS+FRAMES-1:0] out_data
);
  localparam int unsigned TURN_BITS = $clog2(CLASSES + 1);

  localparam int unsigned STEP_BITS = SIMD * (IN_BITS + ADDR_BITS) + 1;
  localparam int unsigned IN_FLIGHT = 5 + $clog2(SIMD);  // frames in the array: one a stage of it

  if (FRAMES > 1 || (FRAMES == 1 && CLASSES < 2) || (FRAMES == 0 && TELL_EVERY > 0)) begin : chk_frames
    $error("readout: FRAMES=%0d must be 0 or 1, and 1 with 2 CLASSES or more for TELL_EVERY=%0d", FRAMES, TELL_EVERY);
  end

  logic sum_valid, sum_ready;
  logic [CLASSES-1:0][LOGIT_BITS-1:0] sum_data;

  mac_array #(
    .PE(CLASSES), .SIMD(SIMD), .IN_BITS(IN_BITS), .LOOKUP(IN_BITS > 1 ? 1 : 0), .PLACES(1),
    .WEIGHT_BITS(WEIGHT_BITS), .ACC_BITS(LOGIT_BITS), .DEPTH(DEPTH), .WEIGHTS_FILE(WEIGHTS_FILE)
  ) mac (
    .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data[STEP_BITS-1:0]),
    .out_valid(sum_valid), .out_ready(sum_ready), .out_data(sum_data)
  );

  // --- bias and arg-max: the logits turn in a ring, one class a cycle, and come to rest where they began
  // each takes its bias as it comes to place 0, and is compared there a cycle later
  logic [CLASSES-1:0][LOGIT_BITS-1:0] bias [1];
  initial $readmemh({BIAS_FILE, ".mem"}, bias);

  logic [CLASSES-1:0][LOGIT_BITS-1:0] logit;
  logic [LOGIT_BITS-1:0] best, addend;
  logic [CLASS_BITS-1:0] best_index;
  logic [TURN_BITS-1:0] turn, next_turn;  // 0: no image; else class turn - 1 is in place 0
  logic searching, first;
  logic told;                     // what is in the ring goes out
  logic [LOGIT_BITS-1:0] so_far;  // of the recording, what the class that comes to place 0 next has
  wire loads = sum_valid && sum_ready;
  wire last_turn = turn == TURN_BITS'(CLASSES);
  assign next_turn = last_turn ? '0 : turn + TURN_BITS'(loads || searching);
  assign sum_ready = !searching && !out_valid;  // registers only: the ready path ends here
  always_ff @(posedge clk) begin
    addend <= next_turn == TURN_BITS'(CLASSES) ? '0 : bias[0][next_turn] + so_far;  // of that class
    if (loads || searching) begin
      for (int c = 1; c < CLASSES; c++) logit[c] <= searching ? logit[(c+1)%CLASSES] : sum_data[c];
      logit[0] <= (searching ? logit[1%CLASSES] : sum_data[0]) + addend;
    end
    first <= next_turn == TURN_BITS'(1);
    // at rest the first class stands here again, and none is above the best: nothing else gates this path
    if (first || $signed(logit[0]) > $signed(best)) begin
      best <= logit[0];
      best_index <= CLASS_BITS'(turn - 1'b1);
    end
    if (!rst_n) begin
      searching <= 1'b0;
      out_valid <= 1'b0;
      turn <= '0;
    end else begin
      if (loads) searching <= 1'b1;
      else if (last_turn) searching <= 1'b0;
      turn <= next_turn;
      if (last_turn && told) out_valid <= 1'b1;
      else if (out_ready) out_valid <= 1'b0;
    end
  end

  // --- frames: the sums of the recording, and whether it ends ------------------------------------------------------
  if (FRAMES == 0) begin : images
    assign told = 1'b1;
    assign so_far = '0;
    assign out_data = {best_index, logit};
  end else begin : recordings
    wire last = in_data[STEP_BITS-1];
    logic unused_ready, unused_valid, coming, ending, begins;
    stream_fifo #(.WIDTH(1), .DEPTH(IN_FLIGHT)) ends (
      .clk(clk), .rst_n(rst_n), .in_valid(in_valid && in_ready && last), .in_ready(unused_ready),
      .in_data(in_data[STEP_BITS]), .out_valid(unused_valid), .out_ready(loads), .out_data(coming)
    );

    logic [LOGIT_BITS-1:0] total [CLASSES];
    wire next_begins = last_turn ? ending : begins;  // nothing is added to the frame that is in the ring, or comes next
    assign so_far = next_begins || next_turn == TURN_BITS'(CLASSES) ? '0 : total[CLASS_BITS'(next_turn)];
    always_ff @(posedge clk) begin
      if (loads) ending <= coming;
      if (turn != '0) total[CLASS_BITS'(turn - 1'b1)] <= logit[0];
      if (!rst_n) begins <= 1'b1;
      else begins <= next_begins;
    end

    if (TELL_EVERY == 0) begin : the_last
      assign told = ending;
    end else begin : every
      localparam int unsigned COUNT_BITS = TELL_EVERY > 1 ? $clog2(TELL_EVERY) : 1;
      logic [COUNT_BITS-1:0] count;  // frames since one was told
      assign told = ending || count == COUNT_BITS'(TELL_EVERY - 1);
      always_ff @(posedge clk) begin
        if (!rst_n) count <= '0;
        else if (last_turn) count <= told ? '0 : count + 1'b1;
      end
    end
    assign out_data = {ending, best_index, logit};
  end
endmodule
