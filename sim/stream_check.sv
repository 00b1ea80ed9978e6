/// stream_check - the handshake law of a stream, bound to every stream of every simulation.
///   valid && !ready  |=>  valid && data unchanged
/// That valid never waits for ready cannot be seen from inside: the bench holds ready low until valid has come.
/// Streams that share a payload are one vector of valid and one of ready: it stays while one of them waits.
module stream_check #(
  parameter int unsigned WIDTH,   // bits of the payload
  parameter int unsigned STREAMS  // that share it
) (
  input logic               clk,
  input logic               rst_n,
  input logic [STREAMS-1:0] valid,
  input logic [STREAMS-1:0] ready,
  input logic [WIDTH-1:0]   data
);
  logic [STREAMS-1:0] waiting_q;
  logic [WIDTH-1:0]   data_q;

  // the payload is kept only where it has to stay, and what must hold is asked without `assert`, whose switch would be
  // read each time: a simulation has a hundred of these at work in every cycle
  always_ff @(posedge clk) begin
    if (rst_n && waiting_q != '0) begin
      if ((waiting_q & ~valid) != '0) begin : held
        $error("%m: valid fell before ready came");
      end
      if (data != data_q) begin : stable
        $error("%m: payload changed from %0h to %0h while waiting", data_q, data);
      end
    end
    waiting_q <= '0;
    if (rst_n && (valid & ~ready) != '0) begin
      waiting_q <= valid & ~ready;
      data_q    <= data;
    end
  end
endmodule
