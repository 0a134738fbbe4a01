/**
 * The body of an answer: taken in up to a cap, then decoded up to the same cap. Exactly one content encoding is undone;
 * a stack of them multiplies (498 bytes of double gzip become 200 MB), and no honest server sends one.
 */
import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, inflateRaw } from "node:zlib";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";

const decoders = { gzip: promisify(gunzip), "x-gzip": promisify(gunzip), br: promisify(brotliDecompress), deflate: inflateEither };

/** What we ask for; the decoders above must cover it. */
export const acceptedEncodings = "gzip, deflate, br";

/** Bytes that encoded data may be larger than what it decodes to: block headers, checksums. */
const encodingOverheadBytes = 64 * 1024;

export type BodyEncoding = keyof typeof decoders | "identity";

export interface BodyCollector {
  /** The failure if this chunk goes beyond the cap: stop reading then. */
  add(chunk: Buffer): Failure | undefined;
  /** The decoded body. */
  finish(): Promise<Result<Buffer, Failure>>;
}

/** Starts to take in a body, or says from the answer's headers why it cannot be taken. */
export function collectBody(headers: Readonly<Record<string, string>>, bytesMax: number): Result<BodyCollector, Failure> {
  const encoding = readEncoding(headers);
  if (!encoding.ok) return encoding;
  const decode = encoding.value === "identity" ? undefined : decoders[encoding.value];
  const arrivingMax = encodedBytesMax(encoding.value, bytesMax);
  if (Number(headers["content-length"]) > arrivingMax) return fail(tooLarge(bytesMax));
  const chunks: Buffer[] = [];
  let bytes = 0;
  return ok({
    add(chunk) {
      bytes += chunk.length;
      if (bytes > arrivingMax) return tooLarge(bytesMax);
      chunks.push(chunk);
      return undefined;
    },
    async finish() {
      const encoded = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (!decode || encoded.length === 0) return ok(encoded);
      try {
        return ok(await decode(encoded, { maxOutputLength: bytesMax }));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") return fail(tooLarge(bytesMax));
        return fail(failure("NETWORK", `the answer is not valid ${encoding.value} data`));
      }
    },
  });
}

/** The one encoding that has to be undone, or the failure that this cannot be done. */
export function readEncoding(headers: Readonly<Record<string, string>>): Result<BodyEncoding, Failure> {
  const name = (headers["content-encoding"] ?? "identity").trim().toLowerCase() || "identity";
  if (name === "identity" || Object.hasOwn(decoders, name)) return ok(name as BodyEncoding);
  return fail(failure("LIMIT.BODY", `the answer has the content encoding "${name.slice(0, 60)}"; one of ${acceptedEncodings} can be read`));
}

/** Bytes that may arrive so that at most `bytesMax` come out. */
export function encodedBytesMax(encoding: BodyEncoding, bytesMax: number): number {
  return encoding === "identity" ? bytesMax : bytesMax + encodingOverheadBytes;
}

export function tooLarge(bytesMax: number): Failure {
  return failure("LIMIT.BODY", `the answer is larger than ${bytesMax} bytes (decoded)`);
}

/** "deflate" means zlib data, but some servers send it without the zlib header. */
function inflateEither(encoded: Buffer, options: { maxOutputLength: number }): Promise<Buffer> {
  const hasHeader = ((encoded[0] ?? 0) & 0x0f) === 8 && encoded.length > 1 && encoded.readUInt16BE(0) % 31 === 0;
  return promisify<Buffer, { maxOutputLength: number }, Buffer>(hasHeader ? inflate : inflateRaw)(encoded, options);
}
