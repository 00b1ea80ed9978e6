/// axis_in - AXI4-Stream of frame bytes to a stream of pixels.
///   pixel[p] = bytes [p*PIXEL_BYTES, (p+1)*PIXEL_BYTES) of the frame, lowest byte first, of each its PIXEL_BITS highest
///              bits: the others end at the pins
///   A frame is ceil(FRAME_PIXELS*PIXEL_BYTES / AXI_BYTES) beats: each begins in a beat of its own, and the bytes of its
///              last beat beyond it are dropped, whatever they are
/// Beat        in: AXI_BYTES bytes and tlast; out: PIXEL_BYTES of PIXEL_BITS
/// Latency     1 cycle for each change of width, AXI_BYTES -> UNIT and UNIT -> PIXEL_BYTES; UNIT = gcd of the two
/// Throughput  1 beat/cycle on the narrowest of the three while out_ready; what is dropped takes a cycle a UNIT
/// Handshake   valid never waits for ready; payload stable while valid && !ready; tready follows out_ready
/// State       the two width converters, the place in the frame, and frame_error
/// Errors      frame_error rises, and stays until reset, when tlast is not exactly on a frame's last beat; frames are
///             counted by beats, tlast moves nothing
/// Golden      quant/golden/axis_in.py
module axis_in #(
  parameter int unsigned AXI_BYTES,
  parameter int unsigned PIXEL_BYTES,
  parameter int unsigned FRAME_PIXELS,
  parameter int unsigned PIXEL_BITS
) (
  input  logic clk,
  input  logic rst_n,
  input  logic s_axis_tvalid,
  output logic s_axis_tready,
  input  logic [8*AXI_BYTES-1:0] s_axis_tdata,
  input  logic s_axis_tlast,
  output logic out_valid,
  input  logic out_ready,
  output logic [PIXEL_BITS*PIXEL_BYTES-1:0] out_data,
  output logic frame_error
);
  if (AXI_BYTES < 1 || PIXEL_BYTES < 1 || FRAME_PIXELS < 1) begin : chk_shape
    $error("axis_in: AXI_BYTES=%0d, PIXEL_BYTES=%0d, FRAME_PIXELS=%0d must be at least 1",
           AXI_BYTES, PIXEL_BYTES, FRAME_PIXELS);
  end
  if (PIXEL_BITS < 1 || PIXEL_BITS > 8) begin : chk_bits
    $error("axis_in: PIXEL_BITS=%0d must be 1 to 8", PIXEL_BITS);
  end

  function automatic int unsigned gcd(input int unsigned a, input int unsigned b);
    int unsigned rest;
    while (b != 0) begin
      rest = a % b;
      a = b;
      b = rest;
    end
    return a;
  endfunction

  localparam int unsigned UNIT = gcd(AXI_BYTES, PIXEL_BYTES);
  localparam int unsigned FRAME_BYTES = FRAME_PIXELS * PIXEL_BYTES;
  localparam int unsigned BEATS = (FRAME_BYTES + AXI_BYTES - 1) / AXI_BYTES;  // a frame
  localparam int unsigned UNITS = BEATS * AXI_BYTES / UNIT;                   // in those beats
  localparam int unsigned KEEP = FRAME_BYTES / UNIT;                          // of them, the frame's own

  // --- what is seen of each byte -------------------------------------------------------------------------------------
  logic [AXI_BYTES-1:0][PIXEL_BITS-1:0] seen;
  for (genvar b = 0; b < AXI_BYTES; b++) begin : highest
    assign seen[b] = s_axis_tdata[8*b+8-PIXEL_BITS+:PIXEL_BITS];
    if (PIXEL_BITS < 8) begin : low
      wire unused = &{1'b0, s_axis_tdata[8*b+:8-PIXEL_BITS]};
    end
  end

  logic unit_valid, unit_ready;
  logic [PIXEL_BITS*UNIT-1:0] unit_data;

  stream_width #(
    .IN_BITS(PIXEL_BITS * AXI_BYTES),
    .OUT_BITS(PIXEL_BITS * UNIT)
  ) split (
    .clk(clk),
    .rst_n(rst_n),
    .in_valid(s_axis_tvalid),
    .in_ready(s_axis_tready),
    .in_data(seen),
    .out_valid(unit_valid),
    .out_ready(unit_ready),
    .out_data(unit_data)
  );

  // --- drop what lies behind the frame ---------------------------------------------------------------------------
  logic keep;
  if (UNITS == KEEP) begin : whole
    assign keep = 1'b1;
  end else begin : drop
    localparam int unsigned COUNT_BITS = $clog2(UNITS);
    logic [COUNT_BITS-1:0] unit;
    assign keep = unit < COUNT_BITS'(KEEP);
    always_ff @(posedge clk) begin
      if (!rst_n) unit <= '0;
      else if (unit_valid && unit_ready) unit <= unit == COUNT_BITS'(UNITS - 1) ? '0 : unit + 1'b1;
    end
  end

  stream_width #(
    .IN_BITS(PIXEL_BITS * UNIT),
    .OUT_BITS(PIXEL_BITS * PIXEL_BYTES)
  ) join_pixel (
    .clk(clk),
    .rst_n(rst_n),
    .in_valid(unit_valid && keep),
    .in_ready(unit_ready),
    .in_data(unit_data),
    .out_valid(out_valid),
    .out_ready(out_ready),
    .out_data(out_data)
  );

  // --- tlast against the frame's length ----------------------------------------------------------------------------
  localparam int unsigned BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
  logic [BEAT_BITS-1:0] beat;
  wire last_beat = beat == BEAT_BITS'(BEATS - 1);
  logic accepted, tlast;  // of the beat before: the way from the pins ends in registers
  always_ff @(posedge clk) begin
    tlast <= s_axis_tlast;
    if (!rst_n) begin
      beat <= '0;
      accepted <= 1'b0;
      frame_error <= 1'b0;
    end else begin
      accepted <= s_axis_tvalid && s_axis_tready;
      if (accepted) beat <= last_beat ? '0 : beat + 1'b1;
      if (accepted && tlast != last_beat) frame_error <= 1'b1;
    end
  end
endmodule
