/**
 * A refusal before any message, in the form that gRPC has for it (Trailers-Only): one HEADERS frame that ends the stream and
 * carries headers, status and trailers. Libraries with a retry policy repeat such a call; one whose headers came by
 * themselves counts as begun, and they hand its end to the program.
 */
import type { Http2ServerResponse } from "node:http2";
import { isGone, type NodeResponse } from "./http-routes.ts";

export function isHttp2(response: NodeResponse): response is Http2ServerResponse {
  return "stream" in response;
}

/** `trailer` holds the status. What was set on the response before goes along; nothing may have been sent yet. */
export function writeTrailersOnly(response: Http2ServerResponse, header: Headers, trailer: Headers): void {
  if (isGone(response) || response.stream.closed) return;
  header.delete("grpc-encoding"); // there is no message that it could tell about
  const fields = { ...response.getHeaders(), ":status": 200, ...Object.fromEntries(header), ...Object.fromEntries(trailer) };
  // The response itself always announces trailers, which leaves the stream open behind the headers.
  response.stream.respond(fields, { endStream: true });
  response.end();
}
