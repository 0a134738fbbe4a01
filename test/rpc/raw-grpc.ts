/** One gRPC call over a bare HTTP/2 session, and its answer frame by frame. */
import { type ClientHttp2Session, constants } from "node:http2";
import { goodKey } from "./server-fixture.ts";

export interface RawAnswer {
  /** Of HTTP. */
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Where gRPC's status stands: behind the message, or in the one frame of an answer without any. */
  readonly trailers: Readonly<Record<string, unknown>>;
  /** Whether the frame with the headers ended the stream. */
  readonly isTrailersOnly: boolean;
  readonly body: Buffer;
}

/** Sends `body` as it is; with `end` false the request is left open. Rejects when the stream breaks. */
export function rawGrpc(session: ClientHttp2Session, path: string, body: Buffer, headers: Record<string, string> = {}, end = true): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const own = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${goodKey}` };
    const stream = session.request({ ...own, ...headers });
    let head: Record<string, unknown> = {};
    let trailers: Record<string, unknown> = {};
    let isTrailersOnly = false;
    const chunks: Buffer[] = [];
    stream.on("response", (received, flags) => {
      head = { ...received };
      isTrailersOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    });
    stream.on("trailers", (received) => (trailers = { ...received }));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const body = Buffer.concat(chunks);
      resolve({ status: Number(head[":status"]), headers: head, trailers: isTrailersOnly ? head : trailers, isTrailersOnly, body });
    });
    stream.on("error", reject);
    if (end) stream.end(body);
    else stream.write(body);
  });
}
