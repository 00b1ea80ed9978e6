/// stream_check - the handshake law of one stream, bound to every stream of every simulation.
///   valid && !ready  |=>  valid && data unchanged
/// That valid never waits for ready cannot be seen from inside: the bench holds ready low until valid has come.
module stream_check #(
  parameter int unsigned WIDTH  // bits of the payload
) (
  input logic             clk,
  input logic             rst_n,
  input logic             valid,
  input logic             ready,
  input logic [WIDTH-1:0] data
);
  logic             waiting_q;
  logic [WIDTH-1:0] data_q;

  // the payload is kept only where it has to stay, and what must hold is asked without `assert`, whose switch would be
  // read each time: a simulation has a hundred of these at work in every cycle
  always_ff @(posedge clk) begin
    if (rst_n && waiting_q) begin
      if (!valid) begin : held
        $error("%m: valid fell before ready came");
      end
      if (data != data_q) begin : stable
        $error("%m: payload changed from %0h to %0h while waiting", data_q, data);
      end
    end
    waiting_q <= 1'b0;
    if (rst_n && valid && !ready) begin
      waiting_q <= 1'b1;
      data_q    <= data;
    end
  end
endmodule
