/** A server on bare HTTP/2 that behaves as badly as the method's name says, and counts the calls that reached it. */
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";

export interface MisbehavingGrpc extends AsyncDisposable {
  readonly port: number;
  readonly calls: string[];
  /** `grpc-timeout` of each call. */
  readonly timeouts: string[];
  readonly sessions: Set<ServerHttp2Session>;
}

const frame = (bytes: Uint8Array, length = bytes.length, flag = 0): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
};
const grpc = { ":status": 200, "content-type": "application/grpc" };

function withTrailers(stream: ServerHttp2Stream, trailers: Record<string, string>, ...frames: Buffer[]): void {
  stream.respond(grpc, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(trailers));
  for (const one of frames) stream.write(one);
  stream.end();
}

const ok = { "grpc-status": "0" };
const behaviours: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  Ok: (stream) => withTrailers(stream, ok, frame(Buffer.from("hi"))),
  Empty: (stream) => withTrailers(stream, ok),
  Twice: (stream) => withTrailers(stream, ok, frame(Buffer.from("a")), frame(Buffer.from("b"))),
  Short: (stream) => withTrailers(stream, ok, frame(Buffer.from("abc"), 100)),
  Compressed: (stream) => withTrailers(stream, ok, frame(Buffer.from("abc"), 3, 1)),
  HugeClaim: (stream) => {
    stream.respond(grpc);
    stream.write(frame(Buffer.from("x"), 0xffff_ffff));
  },
  Drops: (stream) => {
    const bytes = Buffer.concat([frame(Buffer.from("hello")), frame(Buffer.from("you"))]);
    withTrailers(stream, ok, ...Array.from(bytes, (byte) => Buffer.of(byte)));
  },
  NoStatus: (stream) => withTrailers(stream, {}, frame(Buffer.from("hi"))),
  OddStatus: (stream) => withTrailers(stream, { "grpc-status": "four", "grpc-message": "100%" }),
  TrailersOnly: (stream) => stream.respond({ ...grpc, "grpc-status": "9", "grpc-message": "sold%20out%E2%9C%93" }, { endStream: true }),
  Pushback: (stream) => stream.respond({ ...grpc, "grpc-status": "14", "grpc-retry-pushback-ms": "1234" }, { endStream: true }),
  Quota: (stream) => stream.respond({ ...grpc, "grpc-status": "8" }, { endStream: true }),
  Proxy: (stream) => {
    stream.respond({ ":status": 502, "content-type": "text/html" });
    stream.end("<html>");
  },
  Html: (stream) => {
    stream.respond({ ":status": 200, "content-type": "text/html" });
    stream.end("<html>");
  },
  Redirect: (stream) => stream.respond({ ":status": 307, location: "http://127.0.0.1/" }, { endStream: true }),
  Silent: () => undefined,
  Reset: (stream) => stream.close(2),
  Refuse: (stream) => stream.close(7),
  HalfThenGone: (stream) => {
    stream.respond(grpc);
    stream.write(frame(Buffer.from("half"), 100), () => stream.session?.destroy());
  },
};

export async function startMisbehavingGrpc(): Promise<MisbehavingGrpc> {
  const calls: string[] = [];
  const timeouts: string[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server: Http2Server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session)).on("error", () => undefined);
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    stream.resume();
    const method = String(headers[":path"]).split("/").at(-1) ?? "";
    calls.push(method);
    timeouts.push(String(headers["grpc-timeout"]));
    behaviours[method]?.(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    calls,
    timeouts,
    sessions,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
