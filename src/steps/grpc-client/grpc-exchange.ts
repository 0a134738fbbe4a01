/** One call on an open connection: the request's frames out, messages and a status in. It settles once and never throws. */
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { constants } from "node:http2";
import { type Failure, failure } from "../../domain/failure.ts";
import type { GrpcOutcome, GrpcRequest, GrpcStatus } from "../grpc-egress.ts";
import { signalFailure } from "../signal-failure.ts";
import { isRefusedStream } from "./grpc-connection.ts";
import { ownStatus, readStatus, statusOfHttp } from "./grpc-status.ts";
import { encodeFrames, FrameReader } from "./message-frames.ts";

/** `description` names the call in messages. */
export function exchange(session: ClientHttp2Session, request: GrpcRequest, description: string): Promise<GrpcOutcome> {
  const { promise, resolve } = Promise.withResolvers<GrpcOutcome>();
  const { signal } = request;
  const isUnary = request.messagesMax === undefined;
  const messagesMax = request.messagesMax ?? 1;
  const reader = new FrameReader(request.responseBytesMax);
  let stream: ClientHttp2Stream | undefined;
  let early: GrpcStatus | undefined;
  let settled = false;

  function settle(outcome: GrpcOutcome): void {
    if (settled) return;
    settled = true;
    signal.removeEventListener("abort", onAbort);
    if (stream && !stream.closed) stream.close(constants.NGHTTP2_CANCEL);
    resolve(outcome);
  }
  function fail(reason: Failure, outcome: "failed" | "unknown" = "unknown"): void {
    settle({ kind: "failed", failure: reason, outcome });
  }
  function answer(status: GrpcStatus): void {
    settle({ kind: "answered", status, messages: reader.messages });
  }
  function onAbort(): void {
    fail(signalFailure(signal), stream ? "unknown" : "failed");
  }
  /** A status that is no success, or success with all that belongs to it. */
  function conclude(status: GrpcStatus): void {
    if (status.code !== 0) return answer(status);
    if (reader.isInside) return answer(ownStatus("INTERNAL", "the last message is shorter than it says"));
    if (isUnary && reader.messages.length === 0) return answer(ownStatus("INTERNAL", "the answer is OK but has no message"));
    answer(status);
  }

  if (signal.aborted) {
    onAbort();
    return promise;
  }
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    stream = session.request(headersOf(request), { endStream: false });
  } catch {
    // The connection was closed between being handed out and now.
    fail(failure("NETWORK", `${description}: no connection, nothing was sent`), "failed");
    return promise;
  }
  stream.on("response", (headers) => {
    early = statusOfHeaders(headers);
    if (early && !early.isGrpc) answer(early);
  });
  stream.on("data", (chunk: Buffer) => {
    if (settled) return;
    const added = reader.add(chunk, isUnary ? 2 : messagesMax);
    if (!added.ok) return fail({ ...added.fault, message: `${description}: ${added.fault.message}` });
    if (isUnary && reader.messages.length > 1) return answer(ownStatus("INTERNAL", "the answer has more than one message"));
    if (!isUnary && reader.messages.length >= messagesMax) answer(ownStatus("OK", "cancelled after enough messages"));
  });
  stream.on("trailers", (trailers) => conclude(readStatus(trailers) ?? ownStatus("UNKNOWN", "the answer has no grpc-status")));
  stream.on("end", () => {
    if (early) conclude(early);
  });
  stream.on("error", () => undefined);
  stream.on("close", () => {
    if (settled) return;
    if (isRefusedStream(stream?.rstCode)) return fail(failure("NETWORK", `${description}: the server refused the stream, nothing was taken`), "failed");
    if (stream?.rstCode === constants.NGHTTP2_NO_ERROR && !session.destroyed) return answer(ownStatus("INTERNAL", "the answer has no grpc-status"));
    fail(failure("NETWORK", `${description}: the connection broke before the answer was complete`));
  });
  stream.end(encodeFrames(request.messages));
  return promise;
}

/** Undefined while the status is still to come with the trailers. */
function statusOfHeaders(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): GrpcStatus | undefined {
  const status = readStatus(headers);
  if (status) return status;
  const httpStatus = headers[":status"] ?? 0;
  if (httpStatus !== 200) return statusOfHttp(httpStatus);
  return /^application\/grpc(?:$|[+;])/.test(headers["content-type"] ?? "") ? undefined : ownStatus("UNKNOWN", "the answer is not gRPC");
}

function headersOf(request: GrpcRequest): Record<string, string> {
  return {
    ...request.metadata,
    ":method": "POST",
    ":path": request.path,
    "content-type": "application/grpc+proto",
    te: "trailers",
    "grpc-timeout": `${Math.min(Math.max(Math.floor(request.timeoutMs), 1), 99_999_999)}m`,
  };
}
