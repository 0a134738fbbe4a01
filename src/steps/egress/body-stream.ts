/**
 * The body of an answer while it arrives: decoded piece by piece, counted against the same caps as a collected one
 * (`response-body.ts`), never whole in memory. Whoever reads slowly slows down the sender.
 */
import { type Duplex, PassThrough, Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { type BodyEncoding, encodedBytesMax, readEncoding, tooLarge } from "./response-body.ts";

export interface BodyStream {
  /** The failure if this chunk goes beyond the cap: stop reading then. */
  add(chunk: Buffer): Failure | undefined;
  /** Stop reading until `onDrain`. */
  isFull(): boolean;
  /** Nothing more will come. */
  end(): void;
  /** Nothing more is wanted or to be had: whoever reads `bytes` gets this failure thrown. */
  breakOff(fault: Failure): void;
  /** The decoded body, to be read once. Throws a Failure when it is broken, too large, or broken off. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** Starts to take in a body, or says from the answer's headers why it cannot be taken. */
export function streamBody(headers: Readonly<Record<string, string>>, bytesMax: number, onDrain: () => void): Result<BodyStream, Failure> {
  const encoding = readEncoding(headers);
  if (!encoding.ok) return encoding;
  const arrivingMax = encodedBytesMax(encoding.value, bytesMax);
  if (Number(headers["content-length"]) > arrivingMax) return fail(tooLarge(bytesMax));
  const opened = Promise.withResolvers<Readable>();
  opened.promise.catch(() => undefined);
  let inlet: Duplex | undefined;
  let fault: Failure | undefined;
  let arrived = 0;

  function open(first: Buffer): Duplex {
    // Its errors are met by whoever reads; without a listener they would end the process before anybody does.
    const made = decoderOf(encoding.ok ? encoding.value : "identity", first).on("error", () => undefined);
    made.on("drain", onDrain);
    opened.resolve(made);
    return made;
  }

  async function* decoded(): AsyncIterable<Uint8Array> {
    let count = 0;
    try {
      for await (const piece of await opened.promise) {
        count += (piece as Buffer).length;
        if (count > bytesMax) {
          fault = tooLarge(bytesMax);
          break;
        }
        yield piece as Buffer;
      }
    } catch {
      throw fault ?? failure("NETWORK", `the answer is not valid ${encoding.ok ? encoding.value : ""} data`);
    }
    if (fault) throw fault;
  }

  return ok({
    add(chunk) {
      arrived += chunk.length;
      if (arrived > arrivingMax) return tooLarge(bytesMax);
      if (chunk.length === 0 || fault) return undefined;
      inlet ??= open(chunk);
      inlet.write(chunk);
      return undefined;
    },
    isFull: () => inlet?.writableNeedDrain ?? false,
    end() {
      if (inlet) inlet.end();
      else opened.resolve(Readable.from([]));
    },
    breakOff(reason) {
      fault ??= reason;
      opened.reject(reason);
      inlet?.destroy(new Error("broken off"));
    },
    bytes: decoded(),
  });
}

/** "deflate" means zlib data, but some servers send it without the zlib header, whose first byte ends in 8. */
function decoderOf(encoding: BodyEncoding, first: Buffer): Duplex {
  if (encoding === "identity") return new PassThrough();
  if (encoding === "br") return createBrotliDecompress();
  if (encoding === "deflate") return ((first[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw();
  return createGunzip();
}
