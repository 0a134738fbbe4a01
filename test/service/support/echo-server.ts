/** A service that repeats everything it is told, in every form, in header, body and error; and a token endpoint beside it. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";

export interface EchoServer {
  readonly url: string;
  /** host:port, for PAWF_EGRESS_ALLOW. */
  readonly address: string;
  /** Each request as one text: path, headers and body. */
  readonly seen: string[];
  close(): Promise<void>;
}

/** `/<status>` answers with that status; `/token` is a token endpoint that gives `token`. */
export async function startEchoServer(token: string): Promise<EchoServer> {
  const seen: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const text = `${request.url} ${JSON.stringify(request.headers)} ${body}`;
    seen.push(text);
    if (request.url === "/token") {
      response.end(JSON.stringify({ access_token: token, token_type: "bearer", expires_in: 600, note: text }));
      return;
    }
    const credentials = Object.values(request.headers).join(" ");
    const forms = [
      text,
      encodeURIComponent(text),
      Buffer.from(text).toString("base64"),
      Buffer.from(text).toString("hex"),
      JSON.stringify(JSON.stringify(text)),
    ];
    response.setHeader("content-type", "application/json");
    response.setHeader("x-echo", encodeURI(`${request.url} ${credentials}`).slice(0, 4_000));
    response.statusCode = Number(request.url?.match(/^\/(\d{3})/)?.[1] ?? 200);
    response.end(JSON.stringify({ text, forms, nested: { [credentials]: [credentials] } }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    address: `127.0.0.1:${port}`,
    seen,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Answers every gRPC call, reflection too, with a refusal that repeats its credentials. */
export async function startGrpcEcho(): Promise<Pick<EchoServer, "address" | "seen" | "close">> {
  const seen: string[] = [];
  const sessions = new Set<{ destroy(): void }>();
  const server = createHttp2Server();
  server.on("session", (session) => void sessions.add(session));
  server.on("stream", (stream, headers) => {
    const authorization = String(headers["authorization"] ?? "");
    seen.push(authorization);
    stream.on("error", () => undefined).resume();
    const message = encodeURIComponent(`${"x".repeat(450)} ${authorization} ${authorization}`);
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "7", "grpc-message": message }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: () => {
      for (const session of sessions) session.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
