/**
 * Reads the one message of a unary or server-streaming call, whatever protocol carries it, before Connect does: so
 * that every refusal (too large, not decodable, unknown field) has our reason and a path, and a compressed bomb is
 * cut at the limit. Connect is then handed an empty message and `createDecoded` puts the real one in its place.
 *
 *   Connect unary    body, `content-encoding`              GET: query parameter `message`
 *   Connect stream   5-byte envelope, `connect-content-encoding`
 *   gRPC, gRPC-Web   5-byte envelope, `grpc-encoding`
 */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { AppError, violationsError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { decodeMessage } from "../interceptors/decode.ts";
import type { NodeRequest } from "./http-routes.ts";
import { readBody, tooLarge } from "./read-body.ts";

export const compressions: readonly Compression[] = [compressionGzip, compressionBrotli];
/**
 * Answers below this size are sent as they are: they go out in one window of a fresh connection anyway, and compressing four
 * kilobytes takes 0.2 ms, half of it CPU time.
 */
export const compressBytesMin = 16 * 1024;

/** The message that was read; set by the server before Connect's own reading begins. */
export const messageKey = createContextKey<Message | undefined>(undefined, { description: "request message" });

const envelopeBytes = 5;
const compressedFlag = 1;

export interface RequestForm {
  readonly isJson: boolean;
  readonly isEnveloped: boolean;
  /** Header that names the compression; taken away before Connect sees the request. */
  readonly encodingHeader: string;
}

/** How this request carries its message; undefined when Connect will refuse the content type anyway. */
export function formOf(contentType: string): RequestForm | undefined {
  const match = /^application\/(connect\+|grpc-web\+?|grpc\+?)?(json|proto)?(?:; ?charset=utf-?8)?$/i.exec(contentType);
  if (!match) return undefined;
  const protocol = match[1]?.toLowerCase().replace("+", "");
  const isJson = match[2]?.toLowerCase() === "json";
  if (protocol === undefined) return { isJson, isEnveloped: false, encodingHeader: "content-encoding" };
  return { isJson, isEnveloped: true, encodingHeader: protocol === "connect" ? "connect-content-encoding" : "grpc-encoding" };
}

/** What Connect reads instead: one empty message in the same form. */
export function emptyBody(form: RequestForm): Uint8Array {
  const message = form.isJson ? Buffer.from("{}") : Buffer.alloc(0);
  if (!form.isEnveloped) return message;
  const head = Buffer.alloc(envelopeBytes);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export interface IncomingCall {
  readonly request: NodeRequest;
  readonly form: RequestForm;
  readonly encoding: string | null;
  readonly bodyMsMax: number;
}

/** The decoded message of a POST; `signal` ends the wait for its bytes, besides a caller who goes away. */
export async function readMessage(method: DescMethod, incoming: IncomingCall, signal?: AbortSignal): Promise<Message> {
  const bytesMax = limits.messageBytesMax;
  const { form, request } = incoming;
  const compression = compressionOf(incoming.encoding);
  if (!form.isEnveloped) {
    const body = await readBody(request, { bytesMax, msMax: incoming.bodyMsMax, signal });
    return decodeMessage(method.input, await decompressed(body, compression, bytesMax), form.isJson);
  }
  const check = (head: Buffer): void => {
    if (head.readUInt32BE(1) > bytesMax) throw tooLarge(bytesMax);
  };
  const body = await readBody(request, {
    bytesMax: bytesMax + envelopeBytes,
    msMax: incoming.bodyMsMax,
    signal,
    head: { bytes: envelopeBytes, check },
  });
  if (body.length < envelopeBytes || body.length !== envelopeBytes + body.readUInt32BE(1)) {
    throw new AppError("VALIDATION_FAILED", "The call must carry exactly one message, complete and with its 5-byte prefix.");
  }
  const isCompressed = ((body[0] as number) & compressedFlag) !== 0;
  if (isCompressed && !compression) throw new AppError("VALIDATION_FAILED", "The message is marked as compressed, but no header says how.");
  const message = body.subarray(envelopeBytes);
  return decodeMessage(method.input, isCompressed ? await decompressed(message, compression, bytesMax) : message, form.isJson);
}

/** The decoded message of a Connect GET. */
export async function readQueryMessage(method: DescMethod, url: string): Promise<Message> {
  const parameters = new URL(url).searchParams;
  const text = parameters.get("message") ?? "";
  const bytes = parameters.get("base64") === "1" ? Buffer.from(text, "base64url") : Buffer.from(text);
  const plain = await decompressed(bytes, compressionOf(parameters.get("compression")), limits.messageBytesMax);
  return decodeMessage(method.input, plain, parameters.get("encoding") === "json");
}

/** The URL of a Connect GET with an empty message in its place. */
export function blankQuery(text: string): string {
  const url = new URL(text);
  url.searchParams.delete("compression");
  url.searchParams.delete("base64");
  url.searchParams.set("message", url.searchParams.get("encoding") === "json" ? "{}" : "");
  return url.toString();
}

function compressionOf(name: string | null): Compression | undefined {
  if (name === null || name === "" || name === "identity") return undefined;
  const compression = compressions.find((known) => known.name === name);
  if (compression) return compression;
  throw new AppError(
    "FEATURE_DISABLED",
    `Compression ${JSON.stringify(name.slice(0, 40))} is not supported. Use ${compressions.map((known) => known.name).join(", ")} or identity.`,
  );
}

async function decompressed(bytes: Uint8Array, compression: Compression | undefined, bytesMax: number): Promise<Uint8Array> {
  if (!compression) return bytes;
  try {
    return await compression.decompress(bytes as Uint8Array<ArrayBuffer>, bytesMax);
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.ResourceExhausted) throw tooLarge(bytesMax);
    throw violationsError([{ field: "(request)", reason: "VALIDATION_FAILED", description: `is not ${compression.name} data` }]);
  }
}

/** Gives the handler the message that was read beforehand. */
export function createDecoded(): Interceptor {
  return (next) => async (request) => {
    const message = request.contextValues.get(messageKey);
    if (!message) return next(request);
    return request.stream ? next({ ...request, message: only(message) }) : next({ ...request, message });
  };
}

async function* only(message: Message): AsyncIterable<Message> {
  yield message;
}
